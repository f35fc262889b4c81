//! The options of the server's channels, each with its reason.

use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

use grpcio::{ChannelBuilder, Environment, ResourceQuota};

use super::limits::RpcLimits;

/// The system's receive buffer of a connection.
const RECEIVE_BUFFER_BYTES: i32 = 64 * 1024;
/// What is read from a connection at once.
const READ_BYTES: i32 = 16 * 1024;
/// How often an otherwise quiet connection is pinged, and how long it may take to answer.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Clients of quiet streams ping every 30 s; the C core's default would disconnect them.
const MIN_PING_INTERVAL: Duration = Duration::from_secs(10);

/// Options within these bounds.
pub(super) fn builder(environment: &Arc<Environment>, limits: &RpcLimits) -> ChannelBuilder {
    let clamp = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let millis = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    let quota = ResourceQuota::new(Some("otpchatd")).resize_memory(limits.transport_bytes);
    ChannelBuilder::new(Arc::clone(environment))
        // Two servers must not share a port in silence.
        .reuse_port(false)
        .set_resource_quota(quota)
        .max_receive_message_len(clamp(limits.request_bytes))
        .max_concurrent_stream(clamp(limits.calls_per_connection))
        // What a connection may have sent before the server looks at it, and what is read in one go: while the poll thread
        // reads the calls of one connection, it serves no other.
        .raw_cfg_int(CString::from(c"grpc.tcp_receive_buffer_size"), RECEIVE_BUFFER_BYTES)
        .tcp_read_chunk_size(READ_BYTES)
        .tcp_max_read_chunk_size(READ_BYTES)
        // The soft limit is the hard one: between the two, the C core refuses at random. A client that never acknowledges
        // the server's settings is held to the soft limit and to the protocol's own (16 MiB).
        .raw_cfg_int(CString::from(c"grpc.max_metadata_size"), clamp(limits.header_bytes))
        .raw_cfg_int(CString::from(c"grpc.absolute_max_metadata_size"), clamp(limits.header_bytes))
        // For TLS, and for the client's first settings. The default of two minutes helps connections that say nothing.
        .raw_cfg_int(CString::from(c"grpc.server_handshake_timeout_ms"), millis(limits.handshake))
        // A connection without any call. An open stream is a call, however quiet.
        .raw_cfg_int(CString::from(c"grpc.max_connection_idle_ms"), millis(limits.connection_idle))
        // Finds dead clients, also when no message is sent.
        .keepalive_time(KEEPALIVE)
        .keepalive_timeout(KEEPALIVE_TIMEOUT)
        .keepalive_permit_without_calls(true)
        .http2_max_pings_without_data(0)
        .http2_min_recv_ping_interval_without_data(MIN_PING_INTERVAL)
        // Nothing is decompressed: the bound on a request is that of its compressed form, and the one poll thread would
        // decompress it to a thousand times the size. Identity is the lowest bit; compressed requests get UNIMPLEMENTED.
        .raw_cfg_int(CString::from(c"grpc.compression_enabled_algorithms_bitset"), 1)
        .raw_cfg_int(CString::from(c"grpc.per_message_decompression"), 0)
        // Each saves a little on every call.
        .http2_bdp_probe(false)
        .raw_cfg_int(CString::from(c"grpc.enable_channelz"), 0)
}
