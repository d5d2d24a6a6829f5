//! Holds the committed message and service code against `proto/*.proto`; `STOA_REGENERATE=1` writes it anew.

use std::fs;
use std::path::{Path, PathBuf};

use tonic_build::manual::{Builder, Method, Service};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn descriptors() -> protox::prost_reflect::prost_types::FileDescriptorSet {
    protox::compile(["jobs.proto", "journal.proto"], [root().join("proto")])
        .expect("the .proto files compile")
}

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("a scratch folder");
    dir
}

/// `WatchRequest` of the package becomes `crate::wire::WatchRequest`.
fn generate_services(out: &Path) {
    let mut services = Vec::new();
    for file in descriptors().file {
        let message = |wire: &str| wire.replace(".stoa.jobs.v1.", "crate::wire::");
        for service in &file.service {
            let mut built = Service::builder().name(service.name()).package(file.package());
            for m in &service.method {
                let mut method = Method::builder()
                    .name(m.name().to_lowercase())
                    .route_name(m.name())
                    .input_type(message(m.input_type()))
                    .output_type(message(m.output_type()))
                    .codec_path("crate::codec::ProstCodec");
                if m.client_streaming() {
                    method = method.client_streaming();
                }
                if m.server_streaming() {
                    method = method.server_streaming();
                }
                built = built.method(method.build());
            }
            services.push(built.build());
        }
    }
    Builder::new().out_dir(out).compile(&services);
}

fn compare(fresh: &Path) {
    let rewrite = std::env::var_os("STOA_REGENERATE").is_some();
    let committed = root().join("src/gen");
    let names: Vec<_> = fs::read_dir(fresh)
        .expect("the fresh folder reads")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name.to_string_lossy().ends_with(".rs"))
        .collect();
    assert!(!names.is_empty(), "nothing was generated");
    for name in names {
        let text = fs::read_to_string(fresh.join(&name)).expect("the fresh file reads");
        let text = format!(
            "// Generated from frameworks/jobs/proto by tests/codegen.rs; do not edit.\n\n{}",
            text.trim_start()
        );
        let target = committed.join(&name);
        if rewrite {
            fs::create_dir_all(&committed).expect("the folder is made");
            fs::write(&target, &text).expect("the file is written");
        }
        let now = fs::read_to_string(&target).unwrap_or_default();
        assert!(
            now == text,
            "src/gen/{} is stale: run STOA_REGENERATE=1 cargo test -p frameworks-jobs --test codegen",
            name.to_string_lossy()
        );
    }
}

#[test]
fn message_code_is_fresh() {
    let fresh = scratch("jobs-messages");
    prost_build::Config::new()
        .btree_map(["."])
        .out_dir(&fresh)
        .compile_fds(descriptors())
        .expect("prost generates");
    compare(&fresh);
}

#[test]
fn service_code_is_fresh() {
    let fresh = scratch("jobs-services");
    generate_services(&fresh);
    compare(&fresh);
}
