//! `dashboards` writes Grafana's dashboards and docs/metrics.md from code.

use anyhow::{Context, Result};
use clap::Parser;

/// Writes Grafana's dashboards and docs/metrics.md from code.
#[derive(Debug, Parser)]
#[command(name = "dashboards", version)]
struct Arguments {}

fn main() -> Result<()> {
    let Arguments {} = runtime::config::read();
    for (path, content) in dashboards::files() {
        let path = dashboards::root().join(path);
        let directory = path.parent().context("a file lies in a directory")?;
        std::fs::create_dir_all(directory)?;
        std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
