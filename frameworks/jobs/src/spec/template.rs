//! A job as what the cluster understands: the shape of an instance, and its name.

use super::JobSpec;
use framework_sdk::quantities::Quantities;
use framework_sdk::ranges::Ranges;
use framework_sdk::resources::Amount;

// === impl JobSpec ===

impl JobSpec {
    /// What one instance needs of one agent. Ports stand for "so many".
    pub fn shape(&self) -> Amount {
        let amount =
            Amount::scalars(Quantities::of(self.cpus_milli, self.mem_bytes).with_disk(self.disk_bytes));
        match self.ports.len() as u64 {
            0 => amount,
            count => amount.with_ports(Ranges::single(1, count)),
        }
    }

    /// The name of an instance for people: the job's alone when there is but one.
    pub fn instance_name(&self, instance: u32) -> String {
        if self.instances == 1 { self.name.clone() } else { format!("{}.{instance}", self.name) }
    }
}
