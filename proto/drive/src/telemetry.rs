//! Logs and metrics of a process: set up once, first thing.

use std::io::{self, IsTerminal};
use std::str::FromStr;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// The variable that says how much is logged: `info`, or per crate `info,master_core=debug`.
pub const LEVEL_VARIABLE: &str = "STOA_LOG";
/// The variable that says how: `human` or `json`.
pub const FORMAT_VARIABLE: &str = "STOA_LOG_FORMAT";
/// Histograms gather samples until they are folded; so often they are.
const UPKEEP: Duration = Duration::from_secs(1);
/// From ten microseconds (a batch without a sync) to ten seconds (a disk that is dying), in seconds.
const SECONDS: [f64; 16] = [
    0.000_01, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0,
];
/// Powers of four up to a full batch.
const COUNTS: [f64; 6] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0];

/// How logs look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Why there are no logs or metrics.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A variable holds something else than it may.
    #[error("{variable} is {value:?}; {wanted}")]
    Variable {
        /// Which.
        variable: &'static str,
        /// What it holds.
        value: String,
        /// What would be right.
        wanted: &'static str,
    },
    /// Logs are set up already.
    #[error("logs cannot be set up")]
    Logs(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Metrics are set up already.
    #[error("metrics cannot be set up")]
    Metrics(#[from] BuildError),
    /// No thread could be started.
    #[error("cannot start the thread that folds metrics")]
    Thread(#[source] io::Error),
}

impl FromStr for LogFormat {
    type Err = TelemetryError;
    fn from_str(word: &str) -> Result<Self, TelemetryError> {
        match word {
            "human" => Ok(LogFormat::Human),
            "json" => Ok(LogFormat::Json),
            other => Err(TelemetryError::Variable {
                variable: FORMAT_VARIABLE,
                value: other.to_owned(),
                wanted: "write human or json",
            }),
        }
    }
}

/// Sends the logs of this process to stderr: at the level of `STOA_LOG` (else `default_level`), in `format` or else as
/// `STOA_LOG_FORMAT` says. Colours only on a terminal, and never with `NO_COLOR`.
pub fn init_logs(format: Option<LogFormat>, default_level: &str) -> Result<(), TelemetryError> {
    let level = std::env::var(LEVEL_VARIABLE).ok().filter(|level| !level.is_empty());
    let level = level.as_deref().unwrap_or(default_level);
    let filter = EnvFilter::try_new(level).map_err(|_| TelemetryError::Variable {
        variable: LEVEL_VARIABLE,
        value: level.to_owned(),
        wanted: "write error, warn, info, debug or trace, for all or per crate: info,master_core=debug",
    })?;
    let format = match format {
        Some(format) => format,
        None => match std::env::var(FORMAT_VARIABLE) {
            Ok(word) if !word.is_empty() => word.parse()?,
            Ok(_) | Err(_) => LogFormat::default(),
        },
    };
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colours = io::stderr().is_terminal() && !no_colour;
    // A line that cannot be written (a full disk, a reader that is gone) is lost: told on stderr, as is the default, it would be a
    // panic, and nobody who holds data dies of what he cannot say.
    let logs =
        tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false).with_writer(io::stderr);
    match format {
        LogFormat::Human => logs.with_ansi(colours).with_target(false).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    }
    .map_err(TelemetryError::Logs)
}

/// The metrics of this process, for whoever asks for the page. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

// === impl Metrics ===

impl Metrics {
    /// Sets up the metrics of this process. `role` and `id` (`master`, `2`) tell processes of one machine apart.
    pub fn install(role: &str, id: &str) -> Result<Self, TelemetryError> {
        let handle = PrometheusBuilder::new()
            .add_global_label("role", role)
            .add_global_label("id", id)
            .set_buckets(&SECONDS)?
            .set_buckets_for_metric(Matcher::Suffix("_inputs".to_owned()), &COUNTS)?
            .install_recorder()?;
        metrics::gauge!("process_start_time_seconds").set(since_1970().as_secs_f64());
        metrics::gauge!("build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let upkeep = handle.clone();
        thread::Builder::new()
            .name("metrics".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || fold_for_ever(&upkeep))
            .map_err(TelemetryError::Thread)?;
        Ok(Metrics(handle))
    }

    /// The page, in Prometheus' text format.
    pub fn render(&self) -> String {
        metrics::gauge!("process_clock_seconds").set(since_1970().as_secs_f64());
        if let Some(open) = open_files() {
            metrics::gauge!("process_open_fds").set(open as f64);
        }
        if let Some(most) = files_max() {
            metrics::gauge!("process_max_fds").set(most as f64);
        }
        if let Some(bytes) = resident_bytes() {
            metrics::gauge!("process_resident_memory_bytes").set(bytes as f64);
        }
        self.0.render()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

fn fold_for_ever(metrics: &PrometheusHandle) {
    // Nobody ever sends: the wait for a message is the wait between two folds.
    let (_keep, never) = channel::<()>();
    while let Err(RecvTimeoutError::Timeout) = never.recv_timeout(UPKEEP) {
        metrics.run_upkeep();
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

/// Files that are open, sockets included; `None` where the kernel has no page of them.
fn open_files() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count())
}

/// Files that may be open.
fn files_max() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Memory in use, from the kernel's own page; `None` where there is none.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
