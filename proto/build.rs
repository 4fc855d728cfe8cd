//! Compiles the schema in pure Rust: no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=tidings.proto");
    let schema = protox::compile(["tidings.proto"], ["."])?;
    // `Bytes` fields share the frame's memory instead of copying out of it.
    prost_build::Config::new().bytes(["."]).compile_fds(schema)?;
    Ok(())
}
