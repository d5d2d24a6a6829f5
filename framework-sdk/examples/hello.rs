//! A whole framework: three tasks on three machines, which outlive masters and this process, and an end when they have run.
use framework_sdk::prelude::*;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let framework = Framework::builder("hello")
        .role("default")
        .state_file("hello.state")
        .connect(Profile::from_env()?)
        .await?;
    let spec = TaskSpec::shell("echo hello from $STOA_HOSTNAME; sleep 5").cpus_milli(50).mem_mib(32);
    let mut run = framework.submit(Group::of(spec).named("hello")?.count(3).spread("agent")).await?;
    while let Some(event) = run.next().await {
        println!("{event}");
    }
    Ok(framework.finish().await?)
}
