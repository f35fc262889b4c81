# c_core_mend(SOURCE OLD NEW...): compiles a copy of SOURCE in which NEW stands in the place of OLD. OLD must be there exactly
# once, or the build stops.
function(c_core_mend source)
  get_target_property(sources grpc SOURCES)
  if(NOT source IN_LIST sources)
    message(FATAL_ERROR "c-core/mends.cmake: the C core has no source ${source} any more.\n")
  endif()
  file(READ "${source}" text)
  set(at 1)
  while(at LESS ARGC)
    set(old "${ARGV${at}}")
    math(EXPR at "${at} + 1")
    string(FIND "${text}" "${old}" first)
    string(FIND "${text}" "${old}" last REVERSE)
    if(first EQUAL -1 OR NOT first EQUAL last)
      message(FATAL_ERROR "c-core/mends.cmake: ${source} does not have this exactly once any more:\n${old}\n")
    endif()
    string(REPLACE "${old}" "${ARGV${at}}" text "${text}")
    math(EXPR at "${at} + 1")
  endwhile()
  file(WRITE "${CMAKE_BINARY_DIR}/mended/${source}" "${text}")
  list(TRANSFORM sources REPLACE "^${source}$" "${CMAKE_BINARY_DIR}/mended/${source}")
  set_property(TARGET grpc PROPERTY SOURCES "${sources}")
endfunction()

# CVE-2024-7246: an error of one header field was stored with each later field of the same block that the HPACK table keeps. Other
# calls of the connection that used one of those fields were refused for it. Now a field is stored with its own error only.
function(c_core_mends)
  c_core_mend(src/core/ext/transport/chttp2/transport/hpack_parser.cc
    [=[HpackParseResult& status = state_.frame_error;]=]
    [=[HpackParseResult status;
    auto failed = [&status, this](HpackParseResult error) {
      if (status.ok()) status = error;
      input_->SetErrorAndContinueParsing(std::move(error));
    };]=]
    [=[      if (status.ok()) {
        auto r = ValidateKey(key_string);
        if (r != ValidateMetadataResult::kOk) {
          input_->SetErrorAndContinueParsing(
              HpackParseResult::InvalidMetadataError(r, key_string));
        }
      }]=]
    [=[      auto r = ValidateKey(key_string);
      if (r != ValidateMetadataResult::kOk) {
        failed(HpackParseResult::InvalidMetadataError(r, key_string));
      }]=]
    [=[if (status.ok() && !memento->parse_status.ok()) {
        input_->SetErrorAndContinueParsing(memento->parse_status);]=]
    [=[if (!memento->parse_status.ok()) {
        failed(memento->parse_status);]=]
    [=[        if (result.stream_error()) {
          input_->SetErrorAndContinueParsing(std::move(result));]=]
    [=[        if (result.stream_error()) {
          failed(std::move(result));]=]
    [=[[key_string, &status, this](absl::string_view message, const Slice&) {
          if (!status.ok()) return;
          input_->SetErrorAndContinueParsing(
              HpackParseResult::MetadataParseError(key_string));]=]
    [=[[key_string, &status, &failed, this](absl::string_view message, const Slice&) {
          if (!status.ok()) return;
          const bool first = !input_->has_error();
          failed(HpackParseResult::MetadataParseError(key_string));
          if (!first) return;]=])
endfunction()
