//! Holds the committed wire code and service code against the `.proto` files; `STOA_REGENERATE=1` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};

use tonic_build::manual::{Builder, Method, Service};

const FILES: [&str; 10] = [
    "types.proto",
    "scheduler.proto",
    "agent.proto",
    "operator.proto",
    "raft.proto",
    "log.proto",
    "ledger.proto",
    "store.proto",
    "store_log.proto",
    "backup.proto",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn descriptors() -> protox::prost_reflect::prost_types::FileDescriptorSet {
    let dir = root().join("proto/v1");
    protox::compile(FILES, [dir]).expect("the .proto files compile")
}

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("a scratch folder");
    dir
}

fn generate_wire(out: &Path) {
    prost_build::Config::new()
        .btree_map(["."])
        // Values are shared by the store, its replies and its watches.
        .bytes([".stoa.v1.store", ".stoa.v1.store_log"])
        .out_dir(out)
        .compile_fds(descriptors())
        .expect("prost generates");
}

fn method(name: &str, input: &str, output: &str, client_streams: bool, server_streams: bool) -> Method {
    let mut method = Method::builder()
        .name(to_snake(name))
        .route_name(name)
        .input_type(input)
        .output_type(output)
        .codec_path("crate::codec::DomainCodec");
    if client_streams {
        method = method.client_streaming();
    }
    if server_streams {
        method = method.server_streaming();
    }
    method.build()
}

fn to_snake(name: &str) -> String {
    name.to_lowercase()
}

/// Services are generated over the types of the domain: `stoa.v1.scheduler.Call` becomes `proto::scheduler::Call`.
fn generate_services(out: &Path) {
    let mut services = Vec::new();
    for file in descriptors().file {
        let package = file.package().to_owned();
        for service in &file.service {
            let mut built = Service::builder().name(service.name()).package(&package);
            for m in &service.method {
                let domain = |wire: &str| {
                    wire.replace(".stoa.v1.agent.", "::proto::agent_link.")
                        .replace(".stoa.v1.", "::proto::")
                        .replace('.', "::")
                };
                built = built.method(method(
                    m.name(),
                    &domain(m.input_type()),
                    &domain(m.output_type()),
                    m.client_streaming(),
                    m.server_streaming(),
                ));
            }
            services.push(built.build());
        }
    }
    Builder::new().out_dir(out).compile(&services);
}

fn compare(fresh: &Path, committed: &Path) {
    let rewrite = std::env::var_os("STOA_REGENERATE").is_some();
    let mut names: Vec<String> = fs::read_dir(fresh)
        .expect("the fresh folder reads")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".rs"))
        .collect();
    names.sort();
    assert!(!names.is_empty(), "nothing was generated");
    for name in names {
        let text = fs::read_to_string(fresh.join(&name)).expect("the fresh file reads");
        let text =
            format!("// Generated from proto/v1 by tests/codegen.rs; do not edit.\n\n{}", text.trim_start());
        let target = committed.join(&name);
        if rewrite {
            fs::create_dir_all(committed).expect("the folder is made");
            fs::write(&target, &text).expect("the file is written");
        }
        let now = fs::read_to_string(&target).unwrap_or_default();
        assert!(
            now == text,
            "{} is stale: run STOA_REGENERATE=1 cargo test --test codegen",
            target.strip_prefix(root()).unwrap_or(&target).display()
        );
    }
}

#[test]
fn wire_code_is_fresh() {
    let fresh = scratch("wire");
    generate_wire(&fresh);
    compare(&fresh, &root().join("proto/wire/src/gen"));
}

#[test]
fn service_code_is_fresh() {
    let fresh = scratch("services");
    generate_services(&fresh);
    compare(&fresh, &root().join("proto/grpc/src/gen"));
}
