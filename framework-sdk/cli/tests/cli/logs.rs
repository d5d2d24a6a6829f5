//! The output of tasks: of one as it is, of several line by line, whatever becomes of the agent's process meanwhile.

use std::sync::{Arc, Mutex};

use framework_sdk_cli::Exit;
use framework_sdk_cli::client::Client;
use proto::agent::AgentState;
use proto::id::AgentId;
use proto::operator::EventKind;
use proto::task::TaskState;

use crate::pool::{Pool, PretendAgent, Screen, World, event, type_in, typed};
use crate::verbs::one_master;
use crate::views;

async fn with_agent(
    chunks: Vec<&'static [u8]>,
    breaks: usize,
) -> (Pool, Client, Arc<Mutex<World>>, Arc<Mutex<Vec<proto::agent_link::LogsRequest>>>) {
    let (pool, client, world) = one_master().await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let address =
        pool.agent(PretendAgent { chunks, asked: asked.clone(), breaks: Arc::new(Mutex::new(breaks)) }).await;
    world.lock().unwrap().snapshot.agents[0] = views::agent("a1", AgentState::Active, &address);
    (pool, client, world, asked)
}

const OUTPUT: [&[u8]; 2] = [b"hello \x1b[31mred\x1b[0m \x1b", b"[2Jbye\n\xff"];

#[tokio::test]
async fn logs_are_raw_in_a_pipe_and_harmless_on_a_terminal() {
    let (_pool, client, _world, asked) = with_agent(OUTPUT.to_vec(), 0).await;
    let ran = typed(&client, "logs web.2 --tail 5 --stderr").await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    assert_eq!(ran.out, String::from_utf8_lossy(&OUTPUT.concat()));
    let request = asked.lock().unwrap().remove(0);
    assert!(request.stderr && !request.follow);
    assert_eq!((request.task.as_str(), request.tail_lines), ("web.2", Some(5)));
    let screen = Screen { interactive: true, ..Screen::default() };
    let ran = type_in(&client, "logs web.2", screen).await;
    assert_eq!(ran.out, "hello \u{1b}[31mred\u{1b}[0m \\x1b[2Jbye\n\u{fffd}");
}

#[tokio::test]
async fn logs_of_a_sandbox_that_is_gone_say_so() {
    let (_pool, client, _world, _asked) = with_agent(Vec::new(), 0).await;
    let ran = typed(&client, "logs batch.10").await;
    assert_eq!(ran.exit, Exit::NotFound);
    assert!(ran.err.contains("the sandbox is gone"), "{}", ran.err);
}

#[tokio::test]
async fn logs_of_an_agent_that_is_down_name_it() {
    let (_pool, client, world) = one_master().await;
    let dead = crate::pool::nobody().await;
    world.lock().unwrap().snapshot.agents[0] = views::agent("a1", AgentState::Active, &dead);
    let ran = typed(&client, "logs web.2").await;
    assert_eq!(ran.exit, Exit::Unavailable);
    assert!(ran.err.contains(&dead), "{}", ran.err);
}

#[tokio::test]
async fn following_waits_until_the_task_has_started() {
    let (_pool, client, world, asked) = with_agent(OUTPUT.to_vec(), 0).await;
    let started = views::task("web.10", TaskState::Running);
    world.lock().unwrap().scripts.push_back(vec![
        event(3, 1, EventKind::Snapshot(views::snapshot())),
        event(3, 2, EventKind::TaskChanged(views::task("web.2", TaskState::Killing))),
        event(3, 3, EventKind::TaskChanged(started)),
    ]);
    let ran = typed(&client, "logs -f web.10").await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    assert!(ran.out.starts_with("hello"));
    assert!(asked.lock().unwrap()[0].follow);
    assert_eq!(world.lock().unwrap().watches.len(), 1);
}

#[tokio::test]
async fn following_survives_the_death_of_the_agents_process() {
    let (_pool, client, _world, asked) = with_agent(vec![b"one\n", b"two\n", b"three\n"], 2).await;
    let ran = typed(&client, "logs -f --tail 3 web.2").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "one\ntwo\nthree\n"), "{}", ran.err);
    let asked = asked.lock().unwrap();
    let from: Vec<_> = asked.iter().map(|request| (request.offset, request.tail_lines)).collect();
    assert_eq!(from, [(None, Some(3)), (Some(4), None), (Some(8), None)], "it goes on behind what was shown");
}

#[tokio::test]
async fn following_ends_when_the_task_has_ended_and_its_output_is_gone() {
    let (_pool, client, _world, asked) = with_agent(Vec::new(), 0).await;
    let ran = typed(&client, "logs -f batch.10").await;
    assert_eq!(ran.exit, Exit::NotFound, "{}", ran.err);
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn without_following_a_break_is_an_error() {
    let (_pool, client, _world, asked) = with_agent(vec![b"one\n", b"two\n"], 1).await;
    let ran = typed(&client, "logs web.2").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Unavailable, "one\n"), "{}", ran.err);
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn logs_of_a_name_are_those_of_all_its_tasks_each_line_with_its_own() {
    let (_pool, client, world, asked) = with_agent(vec![b"one\ntwo", b" three\nrest"], 0).await;
    let alive = |world: &Arc<Mutex<World>>| world.lock().unwrap().snapshot.tasks.truncate(2);
    alive(&world);
    let all = "web.2| one\nweb.2| two three\nweb.2| rest\nweb.10| one\nweb.10| two three\nweb.10| rest\n";
    for line in
        ["logs web", "logs jobs/web", "logs -l name=web", "logs web.10 web.2", "logs web -l name=web web.2"]
    {
        let ran = typed(&client, line).await;
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, all), "{line}: {}", ran.err);
    }
    let last = asked.lock().unwrap().pop().unwrap();
    assert!(!last.follow && last.tail_lines.is_none());
    for (line, exit, why) in [
        ("logs -l team=web", Exit::NotFound, "stoa get tasks"),
        ("logs -l name=web,team=web", Exit::NotFound, "stoa get tasks"),
        ("logs other/web", Exit::NotFound, "there is no task"),
    ] {
        let ran = typed(&client, line).await;
        assert_eq!(ran.exit, exit, "{line}: {}", ran.out);
        assert!(ran.err.contains(why), "{line}: {}", ran.err);
    }
    // As the SDK calls instances: the name is the group's with a number.
    for (task, name) in world.lock().unwrap().snapshot.tasks.iter_mut().zip(["shop.10", "shop.2"]) {
        std::sync::Arc::make_mut(&mut task.info).name = name.to_owned();
    }
    let ran = typed(&client, "logs shop").await;
    assert_eq!((ran.exit, ran.out), (Exit::Ok, all.replace("web.", "shop.")), "{}", ran.err);
    // Another that begins so is another.
    std::sync::Arc::make_mut(&mut world.lock().unwrap().snapshot.tasks[0].info).name = "shopper.0".to_owned();
    let ran = typed(&client, "logs shop").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "one\ntwo three\nrest"), "{}", ran.err);
    // On a terminal each has a colour of its own, and says nothing that the terminal would obey.
    let (_pool, client, world, _asked) = with_agent(OUTPUT.to_vec(), 0).await;
    alive(&world);
    let ran = type_in(&client, "logs web", Screen { interactive: true, ..Screen::default() }).await;
    assert!(ran.out.contains("web.10| hello \u{1b}[31mred\u{1b}[0m \\x1b[2Jbye\n"), "{:?}", ran.out);
}

#[tokio::test]
async fn following_a_name_takes_in_those_that_come() {
    let (_pool, client, world, asked) = with_agent(vec![b"one\n", b"two\n"], 0).await;
    world.lock().unwrap().scripts.push_back(vec![
        event(3, 1, EventKind::Snapshot(views::snapshot())),
        event(3, 2, EventKind::TaskChanged(views::task("web.10", TaskState::Running))),
        event(3, 3, EventKind::TaskChanged(views::task("web.10", TaskState::Killing))),
    ]);
    // The fourth line is read, and then nobody reads any more.
    let screen = Screen { reads: Some(3), ..Screen::default() };
    let ran = type_in(&client, "logs -f web", screen).await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    let of = |name: &str| ran.out.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
    assert_eq!(of("web.2|")[0], "web.2| one", "in order: {}", ran.out);
    assert_eq!(of("web.10|")[0], "web.10| one", "one that came later: {}", ran.out);
    assert_eq!(of("web").len(), 3);
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 2, "each is read once");
    assert!(asked.iter().all(|request| request.follow));
}

#[tokio::test]
async fn one_of_several_that_cannot_be_read_does_not_hide_the_others() {
    let (_pool, client, world, _asked) = with_agent(vec![b"one\n"], 0).await;
    let mut far = views::task("web.3", TaskState::Running);
    far.agent = AgentId::new("a3").unwrap();
    {
        let nobody = crate::pool::nobody().await;
        let mut world = world.lock().unwrap();
        world.snapshot.tasks.truncate(2);
        world.snapshot.tasks.push(far);
        world.snapshot.agents[2].info.address = nobody;
    }
    let ran = typed(&client, "logs web").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "web.2| one\nweb.10| one\n"), "{}", ran.err);
    assert!(ran.err.starts_with("warning: web.3: "), "{}", ran.err);
}

#[tokio::test]
async fn tasks_of_one_instance_go_by_its_name_and_each_by_its_own() {
    let (_pool, client, world, _asked) = with_agent(vec![b"one\n"], 0).await;
    world.lock().unwrap().snapshot.tasks.truncate(2);
    for (task, name) in world.lock().unwrap().snapshot.tasks.iter_mut().zip(["shop.1/log", "shop.1"]) {
        std::sync::Arc::make_mut(&mut task.info).name = name.to_owned();
    }
    for line in ["logs shop.1", "logs shop", "logs jobs/shop.1", "logs -l name=shop"] {
        let ran = typed(&client, line).await;
        assert_eq!(
            (ran.exit, ran.out.as_str()),
            (Exit::Ok, "shop.1| one\nshop.1/log| one\n"),
            "{line}: {}",
            ran.err
        );
    }
    for line in ["logs shop.1/log", "logs jobs/shop.1/log", "logs F-1/shop.1/log"] {
        let ran = typed(&client, line).await;
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "one\n"), "{line}: {}", ran.err);
    }
    let ran = typed(&client, "describe task shop.1/log").await;
    assert!(ran.exit == Exit::Ok && ran.out.contains("shop.1/log"), "{} {}", ran.out, ran.err);
    for line in ["logs other/shop.1/log", "logs shop.2/log", "exec shop.1/lo -- true"] {
        assert_eq!(typed(&client, line).await.exit, Exit::NotFound, "{line}");
    }
}
