from eval.reporting.markdown import markdown_table


def test_text_to_the_left_and_numbers_to_the_right():
    table = markdown_table(("run", "mIoU"), [("a", "1.00"), ("b", "-")])
    assert table == "| run | mIoU |\n| --- | ---: |\n| a | 1.00 |\n| b | - |\n"


def test_other_columns_may_be_text():
    assert "| ---: | --- |" in markdown_table(("n", "name"), [], left={"name"})
