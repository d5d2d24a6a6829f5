//! Tasks go out of sight with their agent, and come back with it.

use super::*;

fn is_lost(world: &mut World, link: u64) {
    world.say(Input::AgentClosed { link: LinkId(link) });
    for _ in 0..24 {
        world.call(10, None, CallKind::Heartbeat);
        world.run(Duration::from_secs(5));
    }
}

fn launched(world: &mut World) -> (FrameworkId, RunId) {
    let framework = world.subscribe(10, None);
    world.register(1);
    let offers = world.offers(10);
    world.call(10, Some("op-1"), accept(&offers, vec![task("t1", 1000)]));
    let run = world.launched()[0].run;
    (framework, run)
}

#[test]
fn a_framework_hears_that_a_task_is_back_each_time_its_agent_is() {
    let mut world = World::new();
    let (framework, run) = launched(&mut world);
    let running = || update(&framework, run, "t1", 1, TaskState::Running);
    world.say(running());
    let word = Acknowledge { task: TaskId::new("t1").unwrap(), run, sequence: 1 };
    world.call(10, None, CallKind::Acknowledge(word));
    world.events(10);
    for link in [1, 2, 3] {
        is_lost(&mut world, link);
        assert_eq!(statuses(world.events(10)), [(TaskState::Unreachable, 0)]);
        present(&mut world, link + 1, &framework, task("t1", 1000), status_of(running()));
        assert_eq!(statuses(world.events(10)), [(TaskState::Running, 0)]);
    }
}

#[test]
fn a_framework_hears_that_a_task_goes_to_its_agent_after_all() {
    let mut world = World::new();
    launched(&mut world);
    world.events(10);
    is_lost(&mut world, 1);
    assert_eq!(statuses(world.events(10)), [(TaskState::Unreachable, 0)]);
    world.register(2);
    assert_eq!(world.launched().len(), 1, "it never said that it has the run");
    assert_eq!(statuses(world.events(10)), [(TaskState::Staging, 0)]);
}
