// SPDX-License-Identifier: LGPL-2.1-or-later

#include "program_lab.h"

#include <csignal>

namespace vf {

ProgramLab::Served::Served(const std::string& path) : address("unix:path=" + path) {
  BusService::Options options;
  options.private_socket = path;
  auto started = BusService::start(options, model, controller);
  if (started)
    service = std::move(*started);
  else
    ADD_FAILURE() << started.error().message;
}

ProgramLab::ProgramLab() : daemon_(directory_.path("bus.sock")) {}

std::vector<std::string> ProgramLab::command(const std::vector<std::string>& arguments,
                                             const std::vector<std::string>& environment) {
  std::vector<std::string> words{"/usr/bin/env",
                                 "-i",
                                 "PATH=/usr/bin:/bin",
                                 "LC_ALL=C.UTF-8",
                                 "XDG_RUNTIME_DIR=" + directory_.root(),
                                 "DBUS_SYSTEM_BUS_ADDRESS=unix:path=" + directory_.path("no-bus"),
                                 "ASAN_OPTIONS=detect_leaks=1:exitcode=99"};
  words.insert(words.end(), environment.begin(), environment.end());
  words.emplace_back(VF_PROGRAM);
  words.insert(words.end(), arguments.begin(), arguments.end());
  return words;
}

ProgramResult ProgramLab::run(const std::vector<std::string>& arguments,
                              const std::vector<std::string>& environment) {
  std::vector<std::string> with_address{"--address", daemon_.address};
  with_address.insert(with_address.end(), arguments.begin(), arguments.end());
  return run_program(command(with_address, environment));
}

ProgramResult ProgramLab::run_searching(const std::vector<std::string>& arguments,
                                        const std::vector<std::string>& environment) {
  return run_program(command(arguments, environment));
}

RunningProgram::RunningProgram(const std::vector<std::string>& command) {
  std::vector<const gchar*> arguments;
  for (const std::string& word : command)
    arguments.push_back(word.c_str());
  arguments.push_back(nullptr);
  GErrorOut error;
  process_ = adopt(g_subprocess_newv(arguments.data(),
                                     static_cast<GSubprocessFlags>(G_SUBPROCESS_FLAGS_STDOUT_PIPE |
                                                                   G_SUBPROCESS_FLAGS_STDERR_PIPE),
                                     error.out()));
  EXPECT_TRUE(process_) << error.message();
  if (process_)
    lines_ = adopt(g_data_input_stream_new(g_subprocess_get_stdout_pipe(process_.get())));
}

RunningProgram::~RunningProgram() {
  if (process_) g_subprocess_force_exit(process_.get());
}

std::string RunningProgram::line() {
  struct State {
    bool done = false;
    std::string text = "(nothing)";
  };
  auto* state = new State;  // the callback may come after the wait was given up
  g_data_input_stream_read_line_async(
      lines_.get(), G_PRIORITY_DEFAULT, nullptr,
      [](GObject* source, GAsyncResult* result, gpointer data) {
        auto* waiting = static_cast<State*>(data);
        gchar* text = g_data_input_stream_read_line_finish(G_DATA_INPUT_STREAM(source), result,
                                                           nullptr, nullptr);
        waiting->text = text ? take_string(text) : "(end)";
        waiting->done = true;
      },
      state);
  if (!iterate_until([&] { return state->done; })) return "(nothing)";
  const std::string text = state->text;
  delete state;
  return text;
}

void RunningProgram::interrupt() {
  g_subprocess_send_signal(process_.get(), SIGINT);
}

void RunningProgram::stop_reading() {
  g_input_stream_close(G_INPUT_STREAM(lines_.get()), nullptr, nullptr);
}

int RunningProgram::status() {
  bool done = false;
  g_subprocess_wait_async(
      process_.get(), nullptr,
      [](GObject*, GAsyncResult*, gpointer data) { *static_cast<bool*>(data) = true; }, &done);
  if (!iterate_until([&] { return done; })) {
    g_subprocess_force_exit(process_.get());
    iterate_until([&] { return done; });
    return -1;
  }
  return g_subprocess_get_if_exited(process_.get()) ? g_subprocess_get_exit_status(process_.get())
                                                    : -1;
}

std::string RunningProgram::errors() {
  std::string text;
  char buffer[4096];
  gssize count = 0;
  GInputStream* stream = g_subprocess_get_stderr_pipe(process_.get());
  while ((count = g_input_stream_read(stream, buffer, sizeof buffer, nullptr, nullptr)) > 0)
    text.append(buffer, static_cast<std::size_t>(count));
  return text;
}

}  // namespace vf
