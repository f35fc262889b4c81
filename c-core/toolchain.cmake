# CMake reads this file before the C core's own files (.cargo/config.toml names it), and hook.cmake after `project()`.
set(CMAKE_PROJECT_INCLUDE "${CMAKE_CURRENT_LIST_DIR}/hook.cmake")
