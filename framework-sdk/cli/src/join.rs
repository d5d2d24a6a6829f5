//! `stoa join`: a person or a framework gets its certificate with a token.

use std::io;
use std::path::PathBuf;

use framework_sdk::Profile;
use proto_grpc::join;
use proto_pki::{Credentials, Identity, JoinToken};

use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::terminal::Terminal;

const EXAMPLES: &str = "Examples:
  stoa join SJ1.51aa... --master 10.0.0.1:7070 --as user/ada --dir ~/.config/stoa/current
  stoa join SJ1.51aa... --master 10.0.0.1:7070 --as framework/spark --dir /var/lib/spark/credentials

An agent joins by itself: `stoa agent --join TOKEN`. So does a master.";

/// Joins with a token.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct JoinArgs {
    /// The token, as `stoa token create` printed it
    #[arg(value_name = "TOKEN", env = "STOA_JOIN", hide_env_values = true)]
    pub token: String,
    /// HOST:PORT of a master; once for each
    #[arg(long = "master", value_name = "HOST:PORT", required = true)]
    pub masters: Vec<String>,
    /// Who the token is for: user/NAME or framework/NAME
    #[arg(long = "as", value_name = "KIND/NAME", value_parser = guest)]
    pub name: Identity,
    /// Where the certificate is kept: a context for --context
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
}

fn guest(text: &str) -> Result<Identity, String> {
    match text.parse::<Identity>() {
        Ok(identity @ (Identity::User(_) | Identity::Framework(_))) => Ok(identity),
        Ok(_) => Err("agents and masters join by themselves, with --join".to_owned()),
        Err(bad) => Err(bad.to_string()),
    }
}

/// Joins; the exit code.
pub async fn run(args: &JoinArgs) -> u8 {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr());
    let mut nobody = io::empty();
    let terminal = &mut Terminal::of_process(&mut out, &mut err, &mut nobody);
    match joined(args).await {
        Ok(()) => {
            terminal.note(&format!(
                "{} of the cluster; its certificate is in {}",
                args.name,
                args.dir.display()
            ));
            if matches!(args.name, Identity::User(_)) {
                terminal
                    .note(&format!("use it with --context or export STOA_CONTEXT={}", args.dir.display()));
            }
            Exit::Ok.code()
        }
        Err(failure) => {
            failure.report(false, terminal);
            failure.exit.code()
        }
    }
}

async fn joined(args: &JoinArgs) -> Result<(), Failure> {
    if Credentials::exist(&args.dir) {
        return Err(Failure::new(
            Exit::Conflict,
            "conflict",
            format!("{} holds a certificate already", args.dir.display()),
            "name another --dir, or remove that one",
        ));
    }
    let token: JoinToken = args
        .token
        .parse()
        .map_err(|bad: proto_pki::BadToken| Failure::usage(format!("TOKEN is {bad}"), ""))?;
    let name = args.name.to_string();
    let admitted = join::join(&args.masters, &token, &name).await.map_err(|error| {
        let message = format!("cannot join as {name}: {error}");
        if !error.refused {
            return Failure::unavailable(message, "is --master the door of a master that runs?");
        }
        let hint = "is the token for this name, in time and not used up? make one with `stoa token create`";
        Failure::new(Exit::Denied, "bad-token", message, hint)
    })?;
    let masters = if admitted.masters.is_empty() { args.masters.clone() } else { admitted.masters };
    let profile = Profile { credentials: admitted.credentials, masters };
    profile.save(&args.dir).map_err(|error| Failure::internal(chain(&error)))
}
