//! The contracts in `.proto` files: numbers are given once, and every service is built.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use protox::prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor,
};

use super::{files, read, rewrites, root, shown};

/// Each folder of `.proto` files, with the folder that holds the services made from them.
const CONTRACTS: [(&str, &str); 2] =
    [("proto/v1", "proto/grpc/src/gen"), ("frameworks/jobs/proto", "frameworks/jobs/src/gen")];

fn pool(folder: &str) -> DescriptorPool {
    let protos: Vec<_> = files(folder, ".proto");
    assert!(!protos.is_empty(), "{folder} holds no .proto file: mend the list in tests/tidy/contract.rs");
    let set = protox::compile(protos, [root().join(folder)]).expect("the .proto files compile");
    DescriptorPool::from_file_descriptor_set(set).expect("a pool of descriptors")
}

fn shape(field: &FieldDescriptor) -> String {
    let name = match field.kind() {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(numbers) => numbers.full_name().to_owned(),
        plain => format!("{plain:?}").to_lowercase(),
    };
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { return name };
        let of = |field: FieldDescriptor| shape(&field);
        return format!("map {} {}", of(entry.map_entry_key_field()), of(entry.map_entry_value_field()));
    }
    match field.cardinality() {
        Cardinality::Repeated => format!("repeated {name}"),
        Cardinality::Optional | Cardinality::Required => name,
    }
}

/// Who holds which number: `stoa.v1.Offer 1` is `id string`.
fn numbers(pool: &DescriptorPool) -> BTreeMap<(String, i64), String> {
    let mut all = BTreeMap::new();
    let mut fields = |message: MessageDescriptor| {
        for field in message.fields() {
            let given = format!("{} {}", field.name(), shape(&field));
            all.insert((message.full_name().to_owned(), i64::from(field.number())), given);
        }
    };
    pool.all_messages().filter(|message| !message.is_map_entry()).for_each(&mut fields);
    let mut values = |numbers: EnumDescriptor| {
        for value in numbers.values() {
            all.insert((numbers.full_name().to_owned(), i64::from(value.number())), value.name().to_owned());
        }
    };
    pool.all_enums().for_each(&mut values);
    all
}

fn parsed(text: &str) -> BTreeMap<(String, i64), String> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (place, given) =
                line.split_once(" = ").unwrap_or_else(|| panic!("{line:?} is not NAME NUMBER = FIELD"));
            let (owner, number) = place.split_once(' ').unwrap_or_else(|| panic!("{line:?} has no number"));
            ((owner.to_owned(), number.parse().expect("a number")), given.to_owned())
        })
        .collect()
}

#[test]
fn numbers_on_the_wire_are_given_once() {
    for (folder, _) in CONTRACTS {
        let path = root().join(folder).join("numbers.txt");
        let mut given = parsed(&fs::read_to_string(&path).unwrap_or_default());
        let mut fresh = Vec::new();
        for (place, field) in numbers(&pool(folder)) {
            match given.get(&place) {
                Some(before) => assert_eq!(
                    *before,
                    field,
                    "number {} of {} was given away before: old readers would take the new field for the old one. \
                     Take a number that {} does not have",
                    place.1,
                    place.0,
                    shown(&path)
                ),
                None => fresh.push((place, field)),
            }
        }
        if rewrites() {
            given.extend(fresh.drain(..));
            let mut text = String::from(
                "# Every number that a field or a value of these contracts has ever had. Lines are added, never changed or removed:\n\
                 # a number is not given again after its field is gone. STOA_REGENERATE=1 cargo test --test tidy adds what is new.\n",
            );
            for ((owner, number), field) in &given {
                let _ = writeln!(text, "{owner} {number} = {field}");
            }
            fs::write(&path, text).expect("the list is written");
        }
        assert!(
            fresh.is_empty(),
            "{} does not have {fresh:?}: if they are meant, STOA_REGENERATE=1 cargo test --test tidy",
            shown(&path)
        );
    }
}

#[test]
fn every_service_of_the_contracts_is_built() {
    for (folder, generated) in CONTRACTS {
        let mut wanted = Vec::new();
        for service in pool(folder).services() {
            let file = root().join(generated).join(format!("{}.rs", service.full_name()));
            let text = fs::read_to_string(&file).unwrap_or_default();
            let mut calls: Vec<String> = service
                .methods()
                .map(|method| format!("\"/{}/{}\"", service.full_name(), method.name()))
                .collect();
            let mut built: Vec<String> = text
                .split(&format!("\"/{}/", service.full_name()))
                .skip(1)
                .filter_map(|rest| rest.split('"').next())
                .map(|name| format!("\"/{}/{name}\"", service.full_name()))
                .collect();
            calls.sort();
            built.sort();
            built.dedup();
            assert_eq!(built, calls, "{} is not the service of {folder}: regenerate it", shown(&file));
            wanted.push(shown(&file));
        }
        wanted.sort();
        let sources: String =
            files(generated.trim_end_matches("/gen"), ".rs").iter().map(|path| read(path)).collect();
        for file in &wanted {
            let name = file.rsplit('/').next().expect("a name");
            assert!(sources.contains(&format!("include!(\"gen/{name}\")")), "{file} is included nowhere");
        }
        // Services are named Package.Service with a capital; what is left of one that is gone is found here.
        let services = fs::read_dir(root().join(generated)).expect("the folder reads").flatten();
        let mut there: Vec<String> = services
            .map(|entry| shown(&entry.path()))
            .filter(|name| {
                name.trim_end_matches(".rs")
                    .rsplit('.')
                    .next()
                    .is_some_and(|last| last.starts_with(char::is_uppercase))
            })
            .collect();
        there.sort();
        assert_eq!(there, wanted, "{generated} holds a service that no .proto file has");
    }
}

/// What travels, as `TaskInfo` and `v1::TaskInfo`, by the words with which `proto/src/wire` makes it so.
fn travelling() -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    for path in files("proto/src/wire", ".rs").iter().filter(|path| !path.ends_with("macros.rs")) {
        let text = read(path);
        let package = text.split("use proto_wire::").nth(1).and_then(|rest| rest.split(" as w;").next());
        let mut add = |ty: &str, message: &str| {
            let message = match message.strip_prefix("w::") {
                Some(name) => format!("{}::{name}", package.unwrap_or_default()),
                None => format!("v1::{message}"),
            };
            all.insert((ty.trim().to_owned(), message));
        };
        for opening in ["message!(", "only_oneof! {", "empty_message! {"] {
            for rest in text.split(opening).skip(1) {
                let pairs = rest.split(['{', '}', ')']).next().unwrap_or_default();
                let pairs = pairs.split(';').filter_map(|pair| pair.split_once(" = "));
                pairs.for_each(|(ty, message)| add(ty, message.trim()));
            }
        }
        for rest in text.split("\nimpl Wire for ").skip(1) {
            let ty = rest.split(" {").next().unwrap_or_default();
            let message = rest.split("type Message = ").nth(1).and_then(|rest| rest.split(';').next());
            add(ty, message.unwrap_or_default());
        }
    }
    all
}

#[test]
fn every_type_that_travels_is_tried() {
    let list = read(&root().join("proto/tests/wire/list.rs"));
    let list = list.split("\nall! {\n").nth(1).expect("proto/tests/wire/list.rs has its list");
    let tried: BTreeSet<(String, String)> = list
        .lines()
        .filter_map(|line| line.trim().trim_end_matches(';').split_once(" = "))
        .map(|(ty, message)| {
            // `Arc<proto::task::TaskInfo>` is `Arc<TaskInfo>` where it is made to travel.
            let (arc, path) = ty.strip_prefix("Arc<").map_or(("", ty), |path| ("Arc<", path));
            (format!("{arc}{}", path.rsplit("::").next().unwrap_or(path)), message.to_owned())
        })
        .collect();
    let travelling = travelling();
    assert!(travelling.len() > 100, "the types were not found: {travelling:?}");
    let missing: Vec<_> = travelling.difference(&tried).collect();
    assert!(missing.is_empty(), "add {missing:?} to proto/tests/wire/list.rs");
    let gone: Vec<_> = tried.difference(&travelling).collect();
    assert!(gone.is_empty(), "proto/tests/wire/list.rs has {gone:?}, which proto/src/wire does not");
}

#[test]
fn types_meet_the_wire_in_one_place() {
    for path in files("", ".rs") {
        let name = shown(&path);
        // These rules name what they look for.
        let exempt = name.starts_with("proto/src/wire/") || name.starts_with("tests/tidy/");
        let there = !exempt && read(&path).contains("impl Wire for ");
        assert!(!there, "{name} makes a type travel: that is done in proto/src/wire only");
    }
}
