{
  # -Werror and the language standard are set per target: Node's common.gypi takes -Werror out of `cflags`, and its
  # standard differs between Node's versions.
  "target_defaults": {
    "cflags": ["-Wall", "-Wextra", "-Wconversion"],
    "cflags_c": ["-std=gnu11", "-Werror"],
    "cflags_cc": ["-std=c++17", "-Werror", "-fexceptions", "-fvisibility=hidden"],
    "cflags_cc!": ["-fno-exceptions", "-std=gnu++17", "-std=gnu++20"],
    "cflags!": ["-fno-exceptions"],
    "defines": ["_GNU_SOURCE"]
  },
  "targets": [
    {
      "target_name": "handoff",
      "sources": [
        "handoff/native/address.cpp",
        "handoff/native/binding.cpp",
        "handoff/native/descriptor.cpp",
        "handoff/native/diag.cpp",
        "handoff/native/errno_name.cpp",
        "handoff/native/message.cpp",
        "handoff/native/napi_descriptors.cpp",
        "handoff/native/napi_diagnosis.cpp",
        "handoff/native/napi_messages.cpp",
        "handoff/native/napi_processes.cpp",
        "handoff/native/napi_sockets.cpp",
        "handoff/native/napi_users.cpp",
        "handoff/native/napi_values.cpp",
        "handoff/native/poll.cpp",
        "handoff/native/poll_object.cpp",
        "handoff/native/process.cpp",
        "handoff/native/procfs.cpp",
        "handoff/native/socket.cpp",
        "handoff/native/users.cpp"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=8", "NAPI_CPP_EXCEPTIONS"]
    },
    {
      "target_name": "handoff-exec",
      "type": "executable",
      "sources": [
        "handoff/native/handoff-exec.c",
        "handoff/native/launch_descriptors.c",
        "handoff/native/launch_environment.c",
        "handoff/native/launch_failure.c",
        "handoff/native/launch_grant.c",
        "handoff/native/launch_join.c",
        "handoff/native/launch_program.c",
        "handoff/native/launch_specification.c"
      ],
      "cflags": ["-O2"],
      "ldflags": ["-static"],
      "ldflags!": ["-rdynamic"]
    },
    {
      "target_name": "handoff-keeper",
      "type": "executable",
      "sources": [
        "handoff/native/handoff-keeper.c",
        "handoff/native/keeper_client.c",
        "handoff/native/keeper_items.c"
      ],
      "cflags": ["-O2"],
      "ldflags": ["-static"],
      "ldflags!": ["-rdynamic"]
    }
  ]
}
