//! An agent with a real keeper, a real disk and real TLS, and a master that does what the test wants.

mod checks;
mod exec;
mod failover;
mod full;
mod joining;
mod life;
mod logs;
mod master;
mod node;
mod process;
mod restart;
mod secrets;

use std::future::Future;
use std::time::Duration;

/// Long enough that only a hang takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("waited too long for {what}"),
    }
}
