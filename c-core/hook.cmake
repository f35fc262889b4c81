# Builds less of gRPC's C core, and builds it faster. README.md in this folder says what is left out and what is mended.
#
# CMake includes this file after each `project()`. It acts on the C core only, and on Linux only: on another system the C core
# is built as its authors have it.
#
# Every pattern below must match a source. If one does not, the build stops: a new version of the crate must not lose a trim
# or a mend in silence.
if(NOT PROJECT_NAME STREQUAL "grpc" OR NOT CMAKE_SYSTEM_NAME STREQUAL "Linux")
  return()
endif()
set(C_CORE_FOLDER "${CMAKE_CURRENT_LIST_DIR}")
include("${CMAKE_CURRENT_LIST_DIR}/mends.cmake")

# Nothing that is kept needs these two libraries: names are resolved by the system, and only xDS has regular expressions.
set(gRPC_CARES_PROVIDER none CACHE STRING "")
set(gRPC_RE2_PROVIDER none CACHE STRING "")
add_compile_definitions(GRPC_ARES=0)

# The C core is no inner loop of ours: level 3 only makes it larger and slower to compile.
string(REPLACE "-O3" "-O2" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
string(REPLACE "-O3" "-O2" CMAKE_CXX_FLAGS_RELEASE "${CMAKE_CXX_FLAGS_RELEASE}")

# c_core_drop(REGEX...): takes sources out of the target grpc.
function(c_core_drop)
  get_target_property(sources grpc SOURCES)
  foreach(regex IN LISTS ARGN)
    set(rest "${sources}")
    list(FILTER rest EXCLUDE REGEX "${regex}")
    if(rest STREQUAL sources)
      message(FATAL_ERROR "c-core/hook.cmake: no source of the C core matches '${regex}' any more.\n")
    endif()
    set(sources "${rest}")
  endforeach()
  set_property(TARGET grpc PROPERTY SOURCES "${sources}")
endfunction()

# c_core_libraries(OUT TARGET): adds to the list OUT the libraries of this build that TARGET links, directly or not.
function(c_core_libraries out target)
  set(found "${${out}}")
  get_target_property(links ${target} INTERFACE_LINK_LIBRARIES)
  foreach(link IN LISTS links)
    string(REGEX REPLACE "^\\$<LINK_ONLY:(.*)>$" "\\1" link "${link}")
    if(TARGET "${link}")
      get_target_property(real ${link} ALIASED_TARGET)
      get_target_property(imported ${link} IMPORTED)
      if(NOT real)
        set(real ${link})
      endif()
      if(NOT imported AND NOT real IN_LIST found)
        list(APPEND found ${real})
        c_core_libraries(found ${real})
      endif()
    endif()
  endforeach()
  set(${out} "${found}" PARENT_SCOPE)
endfunction()

# Moves the sources of all those libraries into the target grpc: one target is built without waiting, and in few pieces. An
# archive without members stays for each, because grpcio-sys links them all by name.
function(c_core_gather)
  set(libraries)
  c_core_libraries(libraries grpc)
  set(sources)
  foreach(library IN LISTS libraries)
    get_target_property(type ${library} TYPE)
    if(type STREQUAL "STATIC_LIBRARY")
      get_target_property(folder ${library} SOURCE_DIR)
      get_target_property(own ${library} SOURCES)
      list(FILTER own INCLUDE REGEX "\\.(c|cc)$")
      foreach(source IN LISTS own)
        get_filename_component(source "${source}" ABSOLUTE BASE_DIR "${folder}")
        list(APPEND sources "${source}")
      endforeach()
      get_target_property(name ${library} OUTPUT_NAME)
      if(NOT name)
        set(name ${library})
      endif()
      file(WRITE "${CMAKE_BINARY_DIR}/lib${name}.a" "!<arch>\n")
    endif()
  endforeach()
  foreach(library cares re2)
    file(WRITE "${CMAKE_BINARY_DIR}/lib${library}.a" "!<arch>\n")
  endforeach()

  get_target_property(links grpc LINK_LIBRARIES)
  set(rest)
  foreach(link IN LISTS links)
    set(real)
    if(TARGET ${link})
      get_target_property(real ${link} ALIASED_TARGET)
    endif()
    if(NOT link IN_LIST libraries AND NOT real IN_LIST libraries)
      list(APPEND rest ${link})
    endif()
  endforeach()
  set_property(TARGET grpc PROPERTY LINK_LIBRARIES "${rest}")
  target_include_directories(grpc PRIVATE third_party/abseil-cpp)
  target_sources(grpc PRIVATE ${sources})
endfunction()

# c_core_unity(SIZE REGEX...): compiles SIZE sources at a time, because most of the time goes into the headers they share. A
# source that matches REGEX has names of its file only that others have too, and is compiled alone.
function(c_core_unity size)
  set_target_properties(grpc PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${size})
  get_target_property(sources grpc SOURCES)
  foreach(regex IN LISTS ARGN)
    set(alone "${sources}")
    list(FILTER alone INCLUDE REGEX "${regex}")
    if(NOT alone)
      message(FATAL_ERROR "c-core/hook.cmake: no source of the C core matches '${regex}' any more.\n")
    endif()
    set_source_files_properties(${alone} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  endforeach()
endfunction()

function(c_core)
  c_core_gather()
  c_core_drop(
    # Service meshes (xDS), with the policies that only they configure.
    "/core/ext/xds/" "/(lb_policy|resolver)/xds/" "/xds_" "/google_c2p/" "/ext/gcp/" "plugin_registry_extra"
    "/ext/filters/(rbac|stateful_session|server_config_selector|fault_injection|backend_metrics)/"
    "/lib/security/authorization/(matchers|rbac_policy|grpc_authorization_engine|audit_logging|stdout_logger)" "/lib/matchers/"
    # Load balancing over many servers. One server, or several in turn, is what stays.
    "/lb_policy/(rls|priority|outlier_detection|ring_hash|weighted_round_robin|weighted_target)/" "/oob_backend_metric"
    "/grpclb/(client_load|grpclb\\.|grpclb_client|load_balancer)"
    # Ways to authenticate that are Google's, and a second way to TLS that grpcio does not use.
    "/alts/" "/credentials/(external|fake|google_default|iam|jwt|local|oauth2|plugin)/" "/credentials/tls/(grpc_tls|tls_credentials)"
    "channel_creds_registry_init"
    "/security_connector/(fake|local|tls)/" "/fake_transport_security" "/http/httpcli" "/security/util/json_util"
    # Transports and resolvers that are not TCP.
    "/transport/inproc/" "/resolver/(binder|fake)/"
    # Generated from protos of the above, and what describes protos at run time.
    "/upbdefs-generated/" "/upb-generated/(envoy|google/api|opencensus|udpa|validate|xds/(annotations|core|service|type))/"
    "/upb-generated/src/proto/grpc/(gcp|lb|lookup)/" "/upb/upb/(json|lex|reflection|text)/"
    # Other systems.
    "/windows/" "_windows\\." "apple" "cfstream" "/cf_engine/" "/(android|iphone|msys)/"
  )
  target_sources(grpc PRIVATE "${C_CORE_FOLDER}/left_out.cc")
  c_core_mends()
  c_core_unity(12
    "/iomgr/ev_" "/posix_engine/ev_" "/tsi/ssl_transport_security\\.cc" "/bin_encoder" "/upb-generated/" "/absl/time/time\\.cc"
    "/absl/strings/numbers\\.cc" "/time_zone_posix" "/randen_hwaes\\.cc")
endfunction()
cmake_language(DEFER CALL c_core)
