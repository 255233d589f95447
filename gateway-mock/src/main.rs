//! The payment gateway as a program of its own.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use gateway_mock::{Settings, run};
use runtime::tasks::{Crew, Stop, runtime, stop_on_signal};
use runtime::{config, serve, telemetry};

/// For the stop: longer than the 5 s that answers under way are given.
const GRACE: Duration = Duration::from_secs(8);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let settings = config::read();
    if let Err(error) = runtime().and_then(|runtime| runtime.block_on(start(settings))) {
        eprintln!("gateway-mock: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn start(settings: Settings) -> anyhow::Result<()> {
    if settings.telemetry.health {
        return runtime::health::ask(settings.gateway.gateway_mock_addr, "/health");
    }
    telemetry::init_logs(&settings.telemetry.logs)?;
    let metrics = telemetry::open_metrics(&settings.telemetry, SocketAddr::from(([127, 0, 0, 1], 9103)))?;
    let listener = serve::bind(settings.gateway.gateway_mock_addr, "GATEWAY_MOCK_ADDR")?;
    let stop = Stop::new();
    let signals = stop_on_signal(stop.clone())?;
    let mut crew = Crew::new(stop.clone());
    if let Some(metrics) = metrics {
        crew.spawn("metrics", telemetry::run_metrics(metrics, None, stop.clone()));
    }
    crew.spawn("signals", signals);
    crew.spawn("gateway", run(settings.gateway, listener, stop));
    crew.run(GRACE).await
}
