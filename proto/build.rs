//! Compiles `novacula/v1/*.proto` without protoc, and keeps the descriptor set (with comments) for reflection.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo sets CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let files = proto_files(&root.join("novacula/v1"))?;
    println!("cargo::rerun-if-changed={}", root.join("novacula/v1").display());

    let descriptors = protox::compile(&files, [&root])?;
    fs::write(out.join("novacula.v1.bin"), descriptors.encode_to_vec())?;
    let mut messages = prost_build::Config::new();
    // Names let the command line print any message as proto3 JSON through its descriptor.
    messages.enable_type_names();
    tonic_prost_build::configure()
        .build_client(env::var_os("CARGO_FEATURE_CLIENT").is_some())
        .build_server(env::var_os("CARGO_FEATURE_SERVER").is_some())
        .build_transport(false)
        .codec_path("crate::codec::Prost")
        .compile_fds_with_config(descriptors, messages)?;
    Ok(())
}

fn proto_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
