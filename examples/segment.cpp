// Segment one photograph (binary PPM) with a file of `eval/export.py --format openvino`; writes class ids as a PGM.
//   build/segment field.xml photograph.ppm labels.pgm
// How images are prepared is read from the file. OpenVINO resizes and normalises as part of the network.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <iostream>
#include <openvino/openvino.hpp>

static std::vector<float> numbers(std::string json) {  // "[0.4, 0.5]" -> {0.4, 0.5}; "\"native\"" -> {}
    for (char& c : json) if (c == '[' || c == ']' || c == ',') c = ' ';
    std::istringstream text(json);
    return {std::istream_iterator<float>(text), {}};
}

int main(int, char** argv) try {
    std::ifstream file(argv[2], std::ios::binary);
    std::string magic; size_t width = 0, height = 0, highest = 0;
    if (!(file >> magic >> width >> height >> highest) || magic != "P6" || highest != 255) throw std::runtime_error("not a binary PPM");
    std::vector<uint8_t> image(width * height * 3), labels(width * height);
    file.get();  // the one blank that ends the header
    file.read(reinterpret_cast<char*>(image.data()), image.size());

    ov::Core core;
    auto model = core.read_model(argv[1]);
    auto fact = [&](const char* key) { return model->get_rt_info<std::string>("sekd", key); };
    if (fact("input") == "\"uint8 RGB\"") throw std::runtime_error("export the network without --with-preprocessing");
    auto mean = numbers(fact("mean")), std = numbers(fact("std")), size = numbers(fact("image_size"));
    for (auto* values : {&mean, &std}) for (float& value : *values) value *= 255;
    if (size.empty()) size = {float(height), float(width)};
    const float cells = size[0] / std::min(width, height) / 4;  // of 4 pixels, for a short side
    if (size.size() == 1) size = {4 * std::nearbyint(height * cells), 4 * std::nearbyint(width * cells)};

    ov::preprocess::PrePostProcessor prepare(model);
    prepare.input().tensor().set_element_type(ov::element::u8).set_layout("NHWC").set_shape({1, int64_t(height), int64_t(width), 3});
    prepare.input().preprocess().convert_element_type(ov::element::f32)
        .resize(ov::preprocess::ResizeAlgorithm::RESIZE_BILINEAR_PILLOW, size_t(size[0]), size_t(size[1])).mean(mean).scale(std);
    prepare.input().model().set_layout("NCHW");
    auto compiled = core.compile_model(prepare.build(), "CPU", ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY));
    auto request = compiled.create_infer_request();
    request.set_input_tensor(ov::Tensor(ov::element::u8, {1, height, width, 3}, image.data()));
    request.infer();
    auto logits = request.get_tensor("logits");
    const size_t classes = logits.get_shape()[1], rows = logits.get_shape()[2], columns = logits.get_shape()[3];
    const float* data = logits.data<float>();
    for (size_t y = 0; y < height; ++y) for (size_t x = 0; x < width; ++x) {  // bilinear, then the highest class
        const float v = std::clamp((y + 0.5f) * rows / height - 0.5f, 0.0f, rows - 1.0f), u = std::clamp((x + 0.5f) * columns / width - 0.5f, 0.0f, columns - 1.0f);
        const size_t top = size_t(v), left = size_t(u), bottom = std::min(top + 1, rows - 1), right = std::min(left + 1, columns - 1);
        float best = -INFINITY;
        for (size_t k = 0; k < classes; ++k) {
            auto at = [&](size_t row, size_t column) { return data[(k * rows + row) * columns + column]; };
            const float a = at(top, left) + (u - left) * (at(top, right) - at(top, left)), b = at(bottom, left) + (u - left) * (at(bottom, right) - at(bottom, left));
            const float value = a + (v - top) * (b - a);
            if (value > best) { best = value; labels[y * width + x] = uint8_t(k); }
        }
    }
    std::ofstream(argv[3], std::ios::binary) << "P5\n" << width << ' ' << height << "\n255\n" << std::string(labels.begin(), labels.end());
} catch (const std::exception& error) {
    std::cerr << argv[0] << ": " << error.what() << '\n';
    return 1;
}
