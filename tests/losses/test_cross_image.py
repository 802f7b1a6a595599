import numpy as np
import pytest
import torch

from losses.cross_image import CrossImageLoss, MemoryRelationLoss, pool_map


def expected_value(student, teacher, tau):
    """Loops over images and pixels, in numpy."""
    B = len(student)

    def rows(maps, i, j):
        a, b = (maps[n].reshape(maps.shape[1], -1) for n in (i, j))
        a, b = a / np.linalg.norm(a, axis=0), b / np.linalg.norm(b, axis=0)
        e = np.exp(a.T @ b / tau)
        return e / e.sum(axis=1, keepdims=True)

    values = []
    for i in range(B):
        for j in range(B):
            p_s, p_t = rows(student, i, j), rows(teacher, i, j)
            values.append((p_t * np.log(p_t / p_s)).sum(axis=1).mean())
    return np.mean(values)


@pytest.mark.parametrize("batch", [1, 3])
def test_value_by_hand_with_different_widths(batch):
    random = np.random.RandomState(0)
    student, teacher = random.randn(batch, 4, 2, 3), random.randn(batch, 5, 2, 3)
    value = CrossImageLoss(temperature=0.5)([torch.tensor(student)], [torch.tensor(teacher)])
    assert value.item() == pytest.approx(expected_value(student, teacher, 0.5), rel=1e-4)


@pytest.mark.parametrize("side, window", [(128, 4), (64, 4), (63, 3), (48, 3), (32, 2), (31, 1)])
def test_large_maps_are_pooled(side, window):
    student, teacher = torch.randn(2, 1, 4, side, side).unbind(0)
    pooled = [torch.nn.functional.avg_pool2d(x, window) for x in (student, teacher)]
    value = CrossImageLoss(temperature=0.5)([student], [teacher])
    expected = expected_value(*(x.double().numpy() for x in pooled), 0.5)
    assert value.item() == pytest.approx(expected, rel=1e-4)
    assert torch.allclose(pool_map(student), pooled[0], atol=1e-6)


def draw(seed, count=1):
    torch.manual_seed(seed)
    maps = torch.randn(count, 4, 3, 4), torch.randn(count, 4, 3, 4)
    return maps, torch.randint(0, 2, (count, 3, 4), dtype=torch.uint8)


def test_the_memory_of_regions_by_hand():
    loss = MemoryRelationLoss(4, num_classes=2, regions=True, slots=8, drawn=100, temperature=0.5)
    (student, teacher), labels = draw(0)
    value = loss([student], [teacher], labels)
    s, t = (x.double().numpy()[0].reshape(4, -1) for x in (student, teacher))
    s, t = s / np.linalg.norm(s, axis=0), t / np.linalg.norm(t, axis=0)
    ids = labels.numpy().ravel()
    centres = np.stack([t[:, ids == k].sum(1) for k in (0, 1)])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    p_s, p_t = (np.exp(centres @ x / 0.5) for x in (s, t))
    p_s, p_t = p_s / p_s.sum(0), p_t / p_t.sum(0)
    expected = (p_t * np.log(p_t / p_s)).sum(0).mean()
    assert value.item() == pytest.approx(expected, rel=1e-4)


def test_the_memory_is_a_ring_of_teacher_pixels_by_class():
    loss = MemoryRelationLoss(4, num_classes=2, regions=False, slots=8, drawn=8, new_pixels=4)
    for seed in range(3):
        (student, teacher), labels = draw(seed, count=2)
        labels[:] = 1
        loss([student], [teacher], labels)
    assert loss.stored.tolist() == [0, 3 * 8]
    assert loss.memory[0].abs().max() == 0
    torch.testing.assert_close(loss.memory[1].norm(dim=1), torch.ones(8))
    pixels = torch.nn.functional.normalize(teacher, dim=1).permute(0, 2, 3, 1).reshape(-1, 4)
    assert all((pixels == kept).all(1).any() for kept in loss.memory[1])


def test_void_is_not_remembered():
    loss = MemoryRelationLoss(4, num_classes=2, regions=False, slots=64, drawn=8)
    (student, teacher), labels = draw(0)
    labels[:, :, 1:] = 255
    loss([student], [teacher], labels)
    assert loss.stored.sum() == 3


def test_the_memory_is_restored_with_the_state():
    options = {"num_classes": 2, "regions": False, "slots": 16, "drawn": 8}
    first, second = MemoryRelationLoss(4, **options), MemoryRelationLoss(4, **options)
    for seed in range(3):
        (student, teacher), labels = draw(seed)
        first([student], [teacher], labels)
    second.load_state_dict(first.state_dict())
    values = []
    for loss in (first, second):
        (student, teacher), labels = draw(9)
        values.append(loss([student], [teacher], labels))
    assert torch.equal(*values)


def test_nothing_is_remembered_in_evaluation():
    loss = MemoryRelationLoss(4, num_classes=2, regions=True, slots=8, drawn=4).eval()
    (student, teacher), labels = draw(0)
    assert loss([student], [teacher], labels).item() == 0
    assert loss.stored.sum() == 0


def remember_in_one_of_two_processes(rank, folder, regions):
    """One rank's half of a batch; class 1 is on the second half alone."""
    torch.set_num_threads(1)
    rendezvous = f"file://{folder}/rendezvous"
    torch.distributed.init_process_group("gloo", rendezvous, rank=rank, world_size=2)
    loss = MemoryRelationLoss(4, num_classes=2, regions=regions, slots=64, drawn=8)
    (student, teacher), labels = draw(0, count=4)
    labels[:2] = 0
    half = slice(2 * rank, 2 * rank + 2)
    loss([student[half]], [teacher[half]], labels[half])
    torch.save(loss.state_dict(), folder / f"{regions}-{rank}.pth")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("regions", [True, False], ids=["regions", "pixels"])
def test_two_processes_remember_what_both_have_seen(tmp_path, regions):
    torch.multiprocessing.spawn(remember_in_one_of_two_processes, (tmp_path, regions), nprocs=2)
    first, second = (torch.load(tmp_path / f"{regions}-{rank}.pth") for rank in (0, 1))
    assert all(torch.equal(first[key], second[key]) for key in first)
    (student, teacher), labels = draw(0, count=4)
    labels[:2] = 0
    alone = MemoryRelationLoss(4, num_classes=2, regions=regions, slots=64, drawn=8)
    alone([student], [teacher], labels)
    assert torch.equal(first["stored"], alone.stored) and (alone.stored > 0).all()
    if regions:  # pixels are picked at random
        torch.testing.assert_close(first["memory"], alone.memory)
