//! Generates the protocol's message types from `proto/` with the pure-Rust parser: no protoc is needed.

use std::error::Error;

const PROTOS: [&str; 5] =
    ["proto/auth.proto", "proto/otp.proto", "proto/messaging.proto", "proto/admin.proto", "proto/status.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for proto in PROTOS {
        println!("cargo:rerun-if-changed={proto}");
    }
    protobuf_codegen::Codegen::new().pure().include("proto").inputs(PROTOS).cargo_out_dir("proto").run()?;
    Ok(())
}
