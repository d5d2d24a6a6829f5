//! Runs the framework on the cluster that STOA_CONTEXT names, else on that of the last `stoa up`.

use framework::Keep;
use framework_sdk::Profile;
use framework_sdk::role::Role;
use framework_sdk::run::run_as;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let profile = Profile::from_env()?;
    // The file keeps its id: the next process goes on with the tasks of this one.
    Ok(run_as(profile, "NAME", Role::default_role(), "NAME.state", Keep::new(3)).await?)
}
