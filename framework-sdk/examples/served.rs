//! Two kinds of tasks: a server that runs on, and work that needs to know where it is; when the work is done, all ends.
use std::collections::BTreeSet;

use framework_sdk::prelude::*;

const SERVER: &str = "mkdir www && date > www/index.html && cd www && exec python3 -u -m http.server $PORT0";
const WORK: &str =
    "sleep 2; exec python3 -c 'import os, urllib.request as r; r.urlopen(os.environ[\"SERVER\"])'";
const COUNT: u32 = 6;

/// That a piece is done is kept before its end is acknowledged: no later life does it again.
fn keep(event: &Event, kept: &mut Kept<'_>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    match event {
        Event::Task(task) if task.status.state == TaskState::Finished => {
            Ok(kept.put(task.instance.group.as_str(), "done")?)
        }
        _ => Ok(()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let framework = Framework::builder("served").state_file("served.state").on_task_keeping(keep);
    let framework = framework.connect(Profile::from_env()?).await?;
    let mut events = framework.events();
    let mut done: BTreeSet<String> = framework.kept().keys().cloned().collect();
    // That its process runs does not mean that it answers; work that comes too early would fail.
    let answers = Check::http("/", CheckPort::Index(0));
    let server = TaskSpec::shell(SERVER).cpus_milli(50).mem_mib(32).ports(1).readiness(answers);
    let serving = framework.submit(Group::of(server).named("server")?.restart(Restart::Always)).await?;
    let mut told = String::new();
    while done.len() < COUNT as usize {
        let Some(event) = events.recv().await else { break };
        println!("{event}");
        if let Event::Over(group) = &event {
            done.insert(group.as_str().to_owned());
        }
        // Wherever the server is now: after a restart of it, of this process, or of a master.
        let server = framework.members(serving.group()).await?.into_iter().find(|member| member.ready);
        let Some(Member { host, ports, .. }) = server else { continue };
        let address = format!("http://{host}:{}", ports[0]);
        if address != told {
            for name in (0..COUNT).map(|number| format!("work-{number}")).filter(|name| !done.contains(name))
            {
                let work = TaskSpec::shell(WORK).env("SERVER", &address).cpus_milli(50).mem_mib(32);
                framework.submit(Group::of(work).named(&name)?).await?;
            }
            told = address;
        }
    }
    println!("the work is done");
    Ok(framework.finish().await?)
}
