//! Two instances of one framework: start it twice. One works through the items, each once; when it dies the other goes on.
use std::pin::pin;

use framework_sdk::prelude::*;

const ITEM: &str = "echo $ITEM begins >> $LEDGER; sleep 0.05; echo $ITEM ends >> $LEDGER";

fn item(number: u64, ledger: &str) -> Result<Group, Box<dyn std::error::Error>> {
    let spec = TaskSpec::shell(ITEM).cpus_milli(20).mem_mib(16);
    let spec = spec.env("ITEM", number.to_string()).env("LEDGER", ledger);
    Ok(Group::of(spec).named(&format!("item-{number}"))?)
}

/// What follows from an end is kept before the end is acknowledged: the next instance begins behind it.
fn count(event: &Event, kept: &mut Kept<'_>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let Event::Task(task) = event else { return Ok(()) };
    let number = task.instance.group.as_str().strip_prefix("item-").map(str::parse::<u64>);
    let next = kept.get("next").map_or(Ok(0), str::parse)?;
    if let (Some(Ok(number)), true) = (number, task.status.state == TaskState::Finished) {
        kept.put("next", next.max(number + 1).to_string())?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In which file the items write that they ran.
    let ledger = std::env::args().nth(1).unwrap_or("/dev/null".to_owned());
    println!("waiting for its turn");
    let pair = Framework::builder("pair").high_availability().on_task_keeping(count);
    let mut pair = pair.connect(Profile::from_env()?).await?;
    println!("it has its turn");
    let first = pair.kept().get("next").map_or(Ok(0), |next| next.parse())?;
    pair.exactly(vec![item(first, &ledger)?]).await?;
    // One for all items: a Ctrl-C between two waits of their own would be heard by neither.
    let mut leaves = pin!(tokio::signal::ctrl_c());
    for number in first.. {
        let mut run = pair.submit(item(number, &ledger)?).await?;
        let mut is_over = false;
        tokio::select! {
            () = async { while let Some(event) = run.next().await { is_over = matches!(event, Event::Over(_)); } } => {}
            _ = &mut leaves => return Ok(pair.leave().await?),
        }
        if !is_over {
            return Ok(pair.ended().await?);
        }
        println!("item {number} is over");
        pair.withdraw(run.group()).await?;
    }
    Ok(())
}
