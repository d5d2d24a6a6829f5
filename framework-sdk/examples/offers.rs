//! The same as `hello`, one layer below: offers are looked at and filled by hand.
use framework_sdk::{prelude::*, role::Role};

struct Offers {
    waiting: u32,
    running: u32,
}

impl Scheduler for Offers {
    type Input = ();
    type Output = ();
    fn offers(&mut self, _: Now, offers: Vec<Offer>, out: &mut Calls<()>) {
        let shape = Amount::scalars(Quantities::of(100, 32 << 20));
        let mut rooms: Vec<Room> = offers.into_iter().map(Room::new).collect();
        while let (1.., Some(room)) = (self.waiting, rooms.iter_mut().find(|room| room.fits(&shape))) {
            let Ok(id) = TaskId::new(&format!("offers.{}", self.waiting)) else { return };
            let _ = room.place(&shape, tasks::shell(id, "echo hello; sleep 1"));
            (self.waiting, self.running) = (self.waiting - 1, self.running + 1);
        }
        out.accept(rooms, Filter::DEFAULT);
    }
    fn update(&mut self, _: Now, update: Update, out: &mut Calls<()>) {
        println!("{} {}", update.status().task, update.status().state.as_str());
        self.running -= u32::from(update.status().state.is_terminal());
        out.done(update);
        if self.waiting + self.running == 0 {
            out.teardown()
        }
    }
}
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    Ok(run(Profile::from_env()?, "offers", Role::default_role(), Offers { waiting: 3, running: 0 }).await?)
}
