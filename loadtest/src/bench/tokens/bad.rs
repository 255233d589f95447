//! Ten thousand bad tokens a second, and those who show a good one meanwhile. Only ever against this machine, and for some
//! seconds.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use runtime::tasks::Stop;
use serde::Serialize;
use tokio::task::JoinSet;

use super::mint::Mint;
use crate::bench::stack::{Shape, Stack};
use crate::latency::{Percentiles, per_second};
use crate::load::{Connection, Pace, load};

/// Bad tokens a second.
const RATE: u32 = 10_000;
/// Longest attack: the bench's own minute with what is around it, and as much again for who wants to be sure.
const LONGEST: Duration = Duration::from_secs(120);
/// Connections that they come over.
const CONNECTIONS: u32 = 64;
/// Different ones.
const DIFFERENT: u64 = 20_000;
/// Until the attack has its pace.
const LEAD_IN: Duration = Duration::from_secs(1);

/// Honest requests alone, and beside bad tokens.
#[derive(Debug, Clone, Serialize)]
pub struct BadTokensRun {
    /// Honest orders a second.
    pub rate: u32,
    /// From the intended time to the 202, with nobody else there.
    pub alone: Percentiles,
    /// The same beside bad tokens from one address.
    pub beside: Percentiles,
    /// Bad tokens that were answered a second.
    pub bad_per_s: f64,
    /// The same, from as many addresses as there are connections: as long as each is slow enough, every signature is checked.
    pub beside_many: Percentiles,
    /// As above.
    pub many_bad_per_s: f64,
}

/// Measures all three, one after the other.
pub(in crate::bench) async fn beside(
    stack: &Stack,
    rate: u32,
    time: Duration,
    logs: &Path,
) -> Result<BadTokensRun> {
    let attack_time = attack_time(time)?;
    let mint = Mint::new()?;
    let issuers = mint.write(logs)?;
    let tokens = logs.join("bad.tokens");
    std::fs::write(&tokens, mint.forged(DIFFERENT)?.join("\n"))?;
    let settings = [("ISSUERS_FILE", issuers.display().to_string())];
    let mut services = stack.start_on(stack.ground().await?, Shape::ApiOnly, &settings)?;
    services.warm_up(Shape::ApiOnly).await?;
    let plan = services.plan(Pace::Open { per_second: rate }, None, Some(time))?;
    let honest = async || anyhow::Ok(load(&plan, &Stop::new()).await?.latencies.summary());
    let alone = honest().await?;
    let attacked = async |addresses: u32| {
        let attack = attack(services.api_addr, attack_time, addresses, &tokens)?;
        tokio::time::sleep(LEAD_IN).await;
        let latencies = honest().await?;
        let ended = tokio::task::spawn_blocking(move || attack.wait_with_output()).await??;
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        ensure!(
            ended.status.success(),
            "the attack failed: {said}{}",
            String::from_utf8_lossy(&ended.stderr)
        );
        anyhow::Ok((latencies, said.trim().parse::<f64>().context("what it said")?))
    };
    let (beside, bad_per_s) = attacked(1).await.context("from one address")?;
    let (beside_many, many_bad_per_s) = attacked(CONNECTIONS).await.context("from many addresses")?;
    services.stop(stack).await?;
    Ok(BadTokensRun { rate, alone, beside, bad_per_s, beside_many, many_bad_per_s })
}

/// How long an attack has to last to be under way for all of `time`. Said before anything is measured.
fn attack_time(time: Duration) -> Result<Duration> {
    let attack = time + LEAD_IN * 2;
    ensure!(
        attack <= LONGEST,
        "bad tokens are sent for at most {:?}: name fewer --seconds",
        LONGEST - LEAD_IN * 2
    );
    Ok(attack)
}

/// In a process of its own: what measures the honest ones must not be late because of it.
fn attack(api: SocketAddr, time: Duration, addresses: u32, tokens: &Path) -> Result<std::process::Child> {
    let command = std::env::current_exe()?;
    let (api, seconds, addresses) = (api.to_string(), time.as_secs().to_string(), addresses.to_string());
    let mut command = Command::new(command);
    command.args(["bad-tokens", &api, &seconds, &addresses]).arg(tokens).stdin(Stdio::null());
    Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

/// The attack itself: says how many a second were refused.
pub async fn send(api: SocketAddr, seconds: u64, addresses: u32, tokens: &Path) -> Result<()> {
    ensure!(api.ip().is_loopback(), "{api} is another machine: this is for one's own alone");
    let time = Duration::from_secs(seconds);
    ensure!(time <= LONGEST, "at most {LONGEST:?}");
    let text = std::fs::read_to_string(tokens)?;
    let requests: Vec<String> = text
        .lines()
        .map(|token| {
            format!("GET /api/v1/orders/me HTTP/1.1\r\nhost: {api}\r\nauthorization: Bearer {token}\r\n\r\n")
        })
        .collect();
    let (requests, begun) = (Arc::new(requests), Instant::now());
    let mut senders = JoinSet::new();
    for one in 0..CONNECTIONS {
        let from = one % addresses.clamp(1, CONNECTIONS);
        senders.spawn(keep_sending(api, from, one as usize, Arc::clone(&requests), time));
    }
    let mut refused = 0;
    while let Some(sent) = senders.join_next().await {
        refused += sent??;
    }
    println!("{:.0}", per_second(refused, begun.elapsed()));
    Ok(())
}

/// One connection's share, at its own pace; what comes late is sent at once.
async fn keep_sending(
    api: SocketAddr,
    from: u32,
    first: usize,
    requests: Arc<Vec<String>>,
    time: Duration,
) -> Result<u64> {
    let from = IpAddr::V4(Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 1, 1).to_bits() + from));
    let mut connection = Connection::open_from(from, api).await?;
    let (begun, mut refused, mut next) = (Instant::now(), 0, first);
    // Each at its own moment: together they would come in gusts of as many as there are.
    let apart = Duration::from_secs(1) / RATE * u32::try_from(first)?;
    let mut tick =
        tokio::time::interval_at((begun + apart).into(), Duration::from_secs(1) * CONNECTIONS / RATE);
    while begun.elapsed() < time {
        tick.tick().await;
        let request = &requests[next % requests.len()];
        next += CONNECTIONS as usize;
        match connection.ask(request.as_bytes()).await?.status {
            401 | 429 => refused += 1,
            status => bail!("a bad token was answered {status}"),
        }
        if connection.is_closing() {
            connection = Connection::open_from(from, api).await?;
        }
    }
    Ok(refused)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::bench::BenchArguments;

    #[derive(Parser)]
    struct Told {
        #[command(flatten)]
        bench: BenchArguments,
    }

    #[test]
    fn what_the_bench_does_where_nothing_is_said_is_no_longer_than_an_attack_may_be() {
        let told = Told::parse_from(["bench"]);
        assert!(attack_time(told.bench.seconds).unwrap() > told.bench.seconds);
        assert!(attack_time(LONGEST).is_err(), "its lead-in and its end are part of it");
    }
}
