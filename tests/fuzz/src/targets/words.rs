//! Words: what people write in one line, the files of credentials, sessions as text, and what tasks write to terminals.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use agent::declared::{Declared, parse_attributes};
use framework_sdk::agent::AgentInfo;
use framework_sdk_cli::{Sanitizer, escaped};
use framework_sdk_core::tape::Tape;
use proto::attributes::{Attributes, Constraint};
use proto::caller::Caller;
use proto::id::{AgentId, FileName, FrameworkId, OfferId, SecretName, TaskId};
use proto::quantities::{parse_bytes, parse_milli, show_bytes, show_milli};
use proto::ranges::Ranges;
use proto::resources::{Amount, Resources};
use proto::rights::RolePattern;
use proto::role::Role;
use proto::wire::Wire;
use proto_pki::{Authority, Identity, JoinToken};

use crate::target::{Kind, Taken, Target, Verdict, ensure};

pub(super) const RESOURCES: Target = Target::new(
    "resources",
    "declared resources and attributes are refused, or travel as they are",
    Kind::Text,
    resources,
)
.up_to(600)
.words(&[
    "cpus:",
    "mem:",
    "disk:",
    "gpus:",
    "ports:",
    "GiB",
    "MiB",
    "0.001",
    ";",
    "[1-2]",
    "[31000-32000]",
    "{a,b}",
    "fpga:2",
    "18446744073709551615",
    "license:",
    ",",
    "-",
    "zone=b",
    "rack=12",
    "height=-1.5",
    "\n",
    "=",
    "|",
]);

/// The first line: resources. Each other: an attribute.
fn resources(input: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(input) else { return Ok(Taken::No) };
    let mut lines = text.split('\n');
    let declared = Declared::parse(lines.next().unwrap_or_default());
    let attributes = parse_attributes(&lines.map(str::to_owned).collect::<Vec<_>>());
    let mut taken = Taken::No;
    if let Ok(declared) = declared {
        let over = declared.over(Amount::default());
        let travelled =
            Resources::decode(&over.encode()).map_err(|bad| format!("{over:?} does not travel: {bad}"))?;
        ensure(travelled == over, || format!("{over:?} arrives as {travelled:?}"))?;
        ensure(declared.over(over.flatten()) == over, || {
            format!("{over:?} is not itself when it is declared again")
        })?;
        taken = Taken::Yes;
    }
    if let Ok(attributes) = attributes {
        let travelled = Attributes::decode(&attributes.encode())
            .map_err(|bad| format!("{attributes:?} does not travel: {bad}"))?;
        ensure(travelled == attributes, || format!("{attributes:?} arrives as {travelled:?}"))?;
        let texts: Vec<String> = attributes.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let again =
            parse_attributes(&texts).map_err(|bad| format!("{texts:?} was shown and is refused: {bad}"))?;
        ensure(again == attributes, || format!("{attributes:?} is shown as {texts:?}, which is {again:?}"))?;
    }
    Ok(taken)
}

pub(super) const CONSTRAINT: Target = Target::new(
    "constraint",
    "a constraint is refused, or is the same as it is shown and as it travels, and can be asked of any agent",
    Kind::Text,
    constraint,
)
.up_to(600)
.words(&[
    "zone", " == ", " != ", " in ", " not in ", " < ", " >= ", " exists", "a|b", "matches", "hostname",
    "agent", "12.5", "-1", ",", "\"", "/",
]);

fn constraint(input: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(input) else { return Ok(Taken::No) };
    let Ok(constraint) = Constraint::parse(text) else { return Ok(Taken::No) };
    let shown = constraint.to_string();
    let again =
        Constraint::parse(&shown).map_err(|bad| format!("{constraint:?} is shown as {shown:?}: {bad}"))?;
    ensure(again == constraint, || format!("{constraint:?} is shown as {shown:?}, which is {again:?}"))?;
    let travelled =
        Constraint::decode(&constraint.encode()).map_err(|bad| format!("{constraint:?}: {bad}"))?;
    ensure(travelled == constraint, || format!("{constraint:?} arrives as {travelled:?}"))?;
    let agent = |attributes: &str| AgentInfo {
        id: AgentId::new("a1").expect("an id"),
        hostname: "h1".into(),
        address: String::new(),
        resources: Resources::default(),
        attributes: parse_attributes(&[attributes.to_owned()]).expect("attributes"),
        version: String::new(),
    };
    for attributes in ["zone=b", "rack=12", "height=-1.5"] {
        let agent = agent(attributes);
        ensure(constraint.allows(&agent) == again.allows(&agent), || format!("{shown} of {attributes}"))?;
    }
    Ok(Taken::Yes)
}

pub(super) const WORDS: Target = Target::new(
    "words",
    "amounts, ranges, durations, names and tokens are refused, or are the same as they are shown",
    Kind::Text,
    words,
)
.up_to(300)
.words(&[
    "64MiB",
    "1GiB",
    "0.5",
    "1h",
    "90s",
    "250ms",
    "1d",
    "[1-5]",
    "1-5,7",
    "eng/prod",
    "*",
    "user/ada",
    "framework/jobs",
    "agent/a1",
    "master/1",
    "spiffe://",
    "SJ1.",
    "18446744073709551615",
    "9007199254740993",
    ".",
    "-",
    "/",
    " ",
    "KiB",
    "TiB",
    "EiB",
    "1.5",
]);

/// What is taken is shown, and what is shown is taken for the same.
fn shows<T: FromStr + Display + PartialEq + Debug>(text: &str) -> Verdict {
    let Ok(value) = text.parse::<T>() else { return Ok(Taken::No) };
    let shown = value.to_string();
    match shown.parse::<T>() {
        Ok(again) if again == value => Ok(Taken::Yes),
        Ok(again) => Err(format!("{text:?} is shown as {shown:?}, which is {again:?}")),
        Err(_) => Err(format!("{text:?} is shown as {shown:?}, which is refused")),
    }
}

fn words(input: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(input) else { return Ok(Taken::No) };
    let mut taken = Taken::No;
    let all: [fn(&str) -> Verdict; 11] = [
        shows::<Ranges>,
        shows::<Role>,
        shows::<RolePattern>,
        shows::<Caller>,
        shows::<OfferId>,
        shows::<FrameworkId>,
        shows::<TaskId>,
        shows::<SecretName>,
        shows::<FileName>,
        shows::<Identity>,
        shows::<JoinToken>,
    ];
    for one in all {
        if one(text)? == Taken::Yes {
            taken = Taken::Yes;
        }
    }
    if let Ok(milli) = parse_milli(text) {
        ensure(parse_milli(&show_milli(milli)) == Ok(milli), || {
            format!("{text:?} is shown as {:?}", show_milli(milli))
        })?;
        taken = Taken::Yes;
    }
    if let Ok(bytes) = parse_bytes(text) {
        // It may be rounded for people, but it can be read again.
        let shown = show_bytes(bytes);
        ensure(parse_bytes(&shown).is_ok(), || format!("{text:?} is shown as {shown:?}, which is refused"))?;
        taken = Taken::Yes;
    }
    if let Some(duration) = framework_sdk::duration::parse_duration(text) {
        let shown = framework_sdk::duration::show_duration(duration);
        let again = framework_sdk::duration::parse_duration(&shown);
        ensure(again == Some(duration), || format!("{text:?} is shown as {shown:?}, which is {again:?}"))?;
        taken = Taken::Yes;
    }
    if let Ok(duration) = framework_sdk_cli::parse_duration(text) {
        let shown = framework_sdk_cli::show_duration(duration);
        ensure(framework_sdk_cli::parse_duration(&shown).is_ok(), || {
            format!("{text:?} is shown as {shown:?}")
        })?;
    }
    if let Ok((cluster, identity)) = Identity::from_uri(text) {
        ensure(identity.uri(&cluster).as_deref() == Ok(text), || {
            format!("{text:?} is {identity:?} of {cluster:?}")
        })?;
        taken = Taken::Yes;
    }
    Ok(taken)
}

pub(super) const CREDENTIALS: Target = Target::new(
    "credentials",
    "certificates, keys and requests that are none are refused, and a certificate is for who it names",
    Kind::Bytes,
    credentials,
)
.costs(4096);

/// The first byte says what it is: a certificate (DER), a request, or the certificate of another authority (PEM).
fn credentials(input: &[u8]) -> Verdict {
    thread_local! {
        static AUTHORITY: Authority = Authority::create("fuzz").expect("an authority of nobody");
    }
    let Some((which, rest)) = input.split_first() else { return Ok(Taken::No) };
    match which % 3 {
        0 => {
            let Ok((cluster, identity)) = Identity::of_certificate(rest) else { return Ok(Taken::No) };
            let uri = identity.uri(&cluster).map_err(|bad| format!("{identity:?} of {cluster:?}: {bad}"))?;
            ensure(Identity::from_uri(&uri) == Ok((cluster, identity)), || format!("{uri} is another"))?;
        }
        1 => {
            let text = String::from_utf8_lossy(rest);
            if Authority::check_request(&text).is_err() {
                return Ok(Taken::No);
            }
            let who = Identity::Agent(AgentId::new("a1").expect("an id"));
            let signed = AUTHORITY.with(|authority| authority.sign(&text, &who, proto_pki::LEAF_VALIDITY));
            let pem = signed.map_err(|bad| format!("a request is good and is not signed: {bad}"))?;
            let (ca_pem, key_pem) = (String::new(), String::new());
            let credentials = proto_pki::Credentials { ca_pem, certificate_pem: pem, key_pem };
            // Whatever the request asks for, the certificate says who was meant.
            let named =
                credentials.identity().map_err(|bad| format!("what was signed is not read: {bad}"))?;
            ensure(named.1 == who, || format!("asked for {who:?}, named {named:?}"))?;
        }
        _ => {
            let text = String::from_utf8_lossy(rest);
            let taken = AUTHORITY.with(|authority| Authority::from_pem(&text, authority.key_pem()).is_ok());
            ensure(!taken, || "the key of one authority belongs to another".to_owned())?;
            return Ok(Taken::No);
        }
    }
    Ok(Taken::Yes)
}

pub(super) const TAPE: Target = Target::new(
    "tape",
    "a session that was kept as text is refused with its line, or is the same as it is shown",
    Kind::Text,
    tape,
)
.words(&[
    "stoa-session 1\n",
    " heard ",
    " said ",
    " lost",
    " woke",
    " told \"",
    "\\n",
    "\\u{1b}",
    "\\\"",
    "# ",
    "\n",
    "1 2 ",
    "0x",
    "08",
]);

fn tape(input: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(input) else { return Ok(Taken::No) };
    let Ok(tape) = Tape::parse(text) else { return Ok(Taken::No) };
    let again = Tape::parse(&tape.to_string()).map_err(|bad| format!("what is shown is refused: {bad}"))?;
    ensure(again == tape, || format!("{tape:?} is shown as {tape}"))?;
    Ok(if tape.entries.is_empty() { Taken::No } else { Taken::Yes })
}

pub(super) const TERMINAL: Target = Target::new(
    "terminal",
    "what a task writes reaches a terminal without a byte that steers it, the same in however many pieces it comes",
    Kind::Bytes,
    terminal,
);

/// The first byte says how long a piece is.
fn terminal(input: &[u8]) -> Verdict {
    let Some((piece, rest)) = input.split_first() else { return Ok(Taken::No) };
    let whole = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut sanitizer = Sanitizer::default();
        let mut text: String = pieces.map(|piece| sanitizer.push(piece)).collect();
        text += &sanitizer.finish();
        text
    };
    let once = whole(&mut std::iter::once(rest));
    let pieces = whole(&mut rest.chunks(usize::from(*piece).max(1)));
    ensure(once == pieces, || format!("{once:?} in one piece, {pieces:?} in pieces"))?;
    steers_nothing(&once)?;
    let text = String::from_utf8_lossy(rest);
    let shown = escaped(&text);
    ensure(!shown.contains(char::is_control), || format!("{shown:?} is more than a word"))?;
    Ok(Taken::Yes)
}

/// Of what steers a terminal only colours pass.
fn steers_nothing(text: &str) -> Result<(), String> {
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        let colour = rest[at..].strip_prefix("\u{1b}[").and_then(|code| {
            code.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';' || c == ':').strip_prefix('m')
        });
        let Some(behind) = colour else { return Err(format!("{text:?} steers the terminal")) };
        rest = behind;
    }
    Ok(())
}
