// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Stands in for libFuzzer in ordinary builds: every file of the folders given, and what a fixed
// number of random but repeatable changes makes of it, goes through the fuzzer's function once.

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr int changes_per_file = 60;

void run(const std::string& input) {
  // A copy of exactly that size: reading past its end is seen by ASan.
  const std::vector<std::uint8_t> bytes(input.begin(), input.end());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

std::string changed(std::string input, const std::string& other, std::mt19937& random) {
  const auto place = [&](std::size_t size) { return size == 0 ? 0 : random() % size; };
  for (auto count = 1 + random() % 4; count > 0; --count) {
    const std::size_t at = place(input.size());
    switch (random() % 5) {
      case 0:
        if (!input.empty()) input[at] = static_cast<char>(random());
        break;
      case 1:
        input.erase(at, 1 + random() % 8);
        break;
      case 2:
        input.insert(at, input.substr(place(input.size()), random() % 40));
        break;
      case 3:
        input.insert(at, other.substr(place(other.size()), random() % 40));
        break;
      default:
        input.resize(at);
    }
  }
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::filesystem::path> paths;
  for (int index = 1; index < argc; ++index)
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[index]))
      if (entry.is_regular_file()) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> corpus;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  if (corpus.empty()) {
    std::cerr << "no corpus\n";
    return 1;
  }
  std::mt19937 random(1);
  run("");
  for (const std::string& input : corpus) {
    run(input);
    for (int change = 0; change < changes_per_file; ++change)
      run(changed(input, corpus[random() % corpus.size()], random));
  }
  std::cout << corpus.size() << " files, each with " << changes_per_file << " changes\n";
}
