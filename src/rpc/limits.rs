//! Bounds of the wire.

use std::time::Duration;

/// Bounds of the wire.
#[derive(Clone, Debug)]
pub struct RpcLimits {
    /// Threads that work on calls.
    pub workers: usize,
    /// Calls that may wait for a worker.
    pub work_queue: usize,
    /// Threads that hash passwords.
    pub hashers: usize,
    /// Calls that may wait for a hasher.
    pub hash_queue: usize,
    /// Threads that work for the administrator alone.
    pub administrator_workers: usize,
    /// What one person, or one network, may hold at a time.
    pub share: ShareLimits,
    /// Bytes of a request.
    pub request_bytes: u32,
    /// Bytes of a call's headers.
    pub header_bytes: u32,
    /// Connections in all.
    pub connections: usize,
    /// Connections of one address (of IPv6, of one /64).
    pub connections_per_address: usize,
    /// How long a new connection may take for TLS and its first settings, and a call for its message.
    pub handshake: Duration,
    /// How long a connection may stay without a call.
    pub connection_idle: Duration,
    /// Calls at once on one connection.
    pub calls_per_connection: u32,
    /// Bytes that the transport may use.
    pub transport_bytes: usize,
    /// How long a client may leave a message of its stream unread.
    pub stream_stall: Duration,
    /// How long a stream that ends waits for its client to take the status.
    pub stream_end: Duration,
    /// How many messages a stream that fell behind reads from the store at once.
    pub catch_up_page: usize,
    /// Bytes of events that leave in one gRPC message, about.
    pub batch_bytes: usize,
    /// How long a subscriber gets nothing before it is sent a heartbeat.
    pub heartbeat: Duration,
}

/// The share of an owner. Zero switches a bound off.
#[derive(Clone, Copy, Debug)]
pub struct ShareLimits {
    /// Calls under way of one person.
    pub calls_per_person: usize,
    /// Of these, calls with a large answer.
    pub large_calls_per_person: usize,
    /// Calls under way of one network without a verified token.
    pub calls_per_network: usize,
    /// Bytes of answers that one owner may leave unread.
    pub unread_bytes: usize,
    /// How long an answer may stay unread.
    pub answer_stall: Duration,
}
