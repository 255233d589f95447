//! Whether programs were built with the feature `chaos`: without it crash points and bugs on purpose are not in them,
//! and a run that believes they are would prove nothing.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// An armed program refuses the name below before it does anything else; any other one waits for a database.
const REFUSED_WITHIN: Duration = Duration::from_secs(5);
/// No bug has this name.
const NO_BUG: &str = "none";
/// What an armed program says about it.
const REFUSAL: &str = "names no bug";

/// An error, with the remedy, unless all are armed.
pub async fn ensure_armed(bin_dir: &Path) -> Result<()> {
    for name in ["api", "worker", "follower"] {
        let program = Command::new(bin_dir.join(name))
            .env_clear()
            .env("SABOTAGE", NO_BUG)
            .env("API_ADDR", "127.0.0.1:0")
            .env("METRICS_ADDR", "off")
            // Port 1 is nobody's.
            .env("DATABASE_URL", "postgres://127.0.0.1:1/x")
            .env("AMQP_URL", "amqp://127.0.0.1:1")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let said = match tokio::time::timeout(REFUSED_WITHIN, program).await {
            Ok(output) => output.with_context(|| format!("cannot start {name}"))?.stderr,
            Err(_) => Vec::new(),
        };
        if !String::from_utf8_lossy(&said).contains(REFUSAL) {
            bail!(
                "{} was built without the feature chaos: use `make crash-points` or `make sabotage`",
                bin_dir.join(name).display()
            );
        }
    }
    Ok(())
}
