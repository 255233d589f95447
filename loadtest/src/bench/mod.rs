//! bench: how fast it is, what it costs, and how near that is to what the machine could do. Starts everything itself,
//! on this machine: a PostgreSQL that commits for real, a RabbitMQ with a quorum queue, the programs as release
//! binaries, a gateway that answers at once. Every run ends with the reconciliation.
//!
//! Each figure is the median of several runs, and the limits are measured among them: a machine that has a slow hour
//! has it for both.

pub mod echo;
pub mod feed;
pub mod figures;
mod fill;
pub mod frozen;
pub mod limits;
pub mod long;
mod markdown;
pub mod numbers;
pub(crate) mod program;
mod rows;
pub mod runs;
pub mod scale;
pub mod shop;
pub(crate) mod stack;
pub mod tokens;
pub mod told;
pub mod traffic;
pub mod usage;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use runtime::config::seconds;

use self::figures::{Figures, Machine, Runs};
use self::stack::{Shape, Stack};

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Orders accepted at saturation, workers off
    Accept,
    /// First POST to last CONFIRMED
    E2e,
    /// The same with the larger number of orders
    Large,
    /// Latencies at a fixed rate
    Steady,
    /// First POST to last CONFIRMED, and latencies, in one process
    Standalone,
    /// The parts alone
    Limits,
    /// End to end and reading beside millions of finished orders; takes long, so only where it is named
    Scale,
    /// A million payments that are due; only where it is named
    Backlog,
    /// Events read a second
    Feed,
    /// Memory over an hour of load; only where it is named
    Soak,
    /// Load without and with a long transaction of somebody else's; only where it is named
    Backup,
    /// What a token costs on every order; only where it is named
    Tokens,
    /// Honest orders beside ten thousand bad tokens a second; only where it is named
    BadTokens,
    /// One hot product bought at two apis, refused once it is sold out, and orders of many products; only where it is named
    Stock,
    /// Pages of the catalogue read while prices change; only where it is named
    Catalogue,
    /// Webhooks delivered: how many a second, how soon, and beside nine dead endpoints; only where it is named
    Webhooks,
    /// Memory of thousands of streams, and how soon they see a change; only where it is named
    Streams,
    /// What it costs an order that it is rolled up, and that others are told of it; only where it is named
    Following,
    /// Numbers: how soon they show what has happened, a month of them read, and made anew; only where it is named
    Analytics,
}

/// Of `loadtest bench`.
#[derive(Debug, Clone, Args)]
pub struct BenchArguments {
    /// Measure only these
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART,..")]
    pub only: Vec<Part>,
    /// Runs of each; the figure is their median
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,
    /// Orders end to end
    #[arg(long, default_value_t = 20_000)]
    pub orders: u64,
    /// Orders end to end in `large`
    #[arg(long, default_value_t = figures::LARGE)]
    pub large_orders: u64,
    /// Requests under way at once
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// The same end to end: with more the pipeline's batches are fuller
    #[arg(long, default_value_t = 256)]
    pub e2e_connections: usize,
    /// Seconds of `accept`
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub accept_seconds: Duration,
    /// Seconds of `steady`
    #[arg(long, default_value = "60", value_parser = seconds)]
    pub seconds: Duration,
    /// Orders a second in `steady`
    #[arg(long, default_value_t = figures::RATE, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
    /// Finished orders in the tables in `scale`
    #[arg(long, value_delimiter = ',', default_value = "0,1000000,10000000", value_name = "ORDERS,..")]
    pub finished: Vec<u64>,
    /// Pages of either kind in `catalogue`
    #[arg(long, default_value_t = 100_000)]
    pub pages: u64,
    /// Deliveries in `webhooks`
    #[arg(long, default_value_t = 60_000)]
    pub events: u64,
    /// Streams in `streams`
    #[arg(long, default_value_t = 5_000)]
    pub streams: usize,
    /// Orders that the numbers are of which `analytics` reads
    #[arg(long, default_value_t = 10_000_000)]
    pub rolled_orders: u64,
    /// Events that `analytics` makes the numbers anew of
    #[arg(long, default_value_t = 10_000_000)]
    pub rolled_events: u64,
    /// Of the hot product in `stock`
    #[arg(long, default_value_t = 100_000)]
    pub buys: u64,
    /// Payments in `backlog`
    #[arg(long, default_value_t = 1_000_000)]
    pub backlog: u64,
    /// Seconds of `soak`
    #[arg(long, default_value = "3600", value_parser = seconds)]
    pub soak_seconds: Duration,
    /// Seconds of `backup`, each of its two times
    #[arg(long, default_value = "600", value_parser = seconds)]
    pub backup_seconds: Duration,
    /// Where report.json, report.md and the programs' logs go
    #[arg(long, default_value = "target/bench", value_name = "DIR")]
    pub out: PathBuf,
}

/// Measures, prints, and writes the report; an error where an invariant is broken.
pub async fn bench(arguments: &BenchArguments) -> Result<()> {
    let logs = arguments.out.join("logs");
    fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
    let programs = std::env::current_exe()?;
    let programs = programs.parent().context("this program lies nowhere")?;
    eprintln!("starting PostgreSQL and RabbitMQ");
    let stack = Stack::start(programs, &logs, arguments.connections).await?;
    let machine = machine(stack.postgres_version().await?)?;
    let mut runs = Runs::default();
    for run in 1..=arguments.runs {
        measure(arguments, &stack, run, &mut runs)
            .await
            .with_context(|| format!("run {run}; the programs' logs are in {}", logs.display()))?;
    }
    tokio::task::spawn_blocking(|| drop(stack)).await?;
    let figures = Figures::new(machine, runs);
    let text = figures.to_string();
    println!("\n{text}");
    fs::write(arguments.out.join("report.md"), text)?;
    fs::write(arguments.out.join("report.json"), serde_json::to_string_pretty(&figures)?)?;
    ensure!(figures.clean, "the books do not agree: this is no measurement");
    Ok(())
}

/// One run of every part that is asked for.
async fn measure(arguments: &BenchArguments, stack: &Stack, run: u32, runs: &mut Runs) -> Result<()> {
    let BenchArguments { orders, large_orders, rate, seconds, .. } = *arguments;
    let wanted = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let say = |what: String| eprintln!("run {run} of {}: {what}", arguments.runs);
    if wanted(Part::Limits) {
        let limits = limits::all(stack).await?;
        for limit in &limits {
            say(format!("{}: {:.0} orders/s, {:.1} us each", limit.name, limit.per_s, limit.us_per_order));
        }
        runs.limits.push(limits);
    }
    if wanted(Part::Accept) {
        let done = runs::accept(stack, arguments.accept_seconds).await.context("accept")?;
        say(format!("accepted {:.0}/s; {}", done.per_s, done.accept));
        runs.accept.push(done);
    }
    for (part, shape, orders, into) in [
        (Part::E2e, Shape::Separate, orders, &mut runs.e2e),
        (Part::Large, Shape::Separate, large_orders, &mut runs.large),
        (Part::Standalone, Shape::Standalone, orders, &mut runs.standalone),
    ] {
        if wanted(part) {
            let done = runs::end_to_end(stack, shape, orders, arguments.e2e_connections)
                .await
                .with_context(|| format!("{part:?}"))?;
            say(format!("{part:?}: {orders} orders at {:.0}/s end to end", done.per_s));
            into.push(done);
        }
    }
    for (part, shape, into) in [
        (Part::Steady, Shape::Separate, &mut runs.steady),
        (Part::Standalone, Shape::Standalone, &mut runs.standalone_steady),
    ] {
        if wanted(part) {
            let done = runs::steady(stack, shape, rate, seconds)
                .await
                .with_context(|| format!("{part:?}, steady"))?;
            say(format!("{part:?}: at {rate}/s accept {}", done.accept));
            say(format!("{part:?}: at {rate}/s confirmed {}", done.confirmed));
            into.push(done);
        }
    }
    if wanted(Part::Feed) {
        let done = feed::read_all(stack).await.context("feed")?;
        say(format!("feed: {:.0} events/s; of one large tick {:.0}/s", done.per_s, done.stalled_per_s));
        runs.feed.push(done);
    }
    tokens(arguments, stack, run, runs).await?;
    sold(arguments, stack, run, runs).await?;
    told(arguments, stack, run, runs).await?;
    scale(arguments, stack, run, runs).await
}

/// What tokens cost, where that is named.
async fn tokens(arguments: &BenchArguments, stack: &Stack, run: u32, runs: &mut Runs) -> Result<()> {
    let BenchArguments { orders, e2e_connections, rate, seconds, out, .. } = arguments;
    let logs = out.join("logs");
    if arguments.only.contains(&Part::Tokens) {
        for done in tokens::price(stack, *orders, *e2e_connections, &logs).await.context("tokens")? {
            let us = done.cost.us_per_order.get("standalone").copied().unwrap_or_default();
            eprintln!("run {run}: {}: {us:.1} us an order", done.shown.says());
            runs.tokens.push(done);
        }
    }
    if arguments.only.contains(&Part::BadTokens) {
        let done = tokens::bad::beside(stack, *rate, *seconds, &logs).await.context("bad tokens")?;
        eprintln!("run {run}: alone {}", done.alone);
        eprintln!("run {run}: beside {:.0} bad tokens/s {}", done.bad_per_s, done.beside);
        eprintln!("run {run}: of 64 addresses, {:.0}/s {}", done.many_bad_per_s, done.beside_many);
        runs.bad_tokens.push(done);
    }
    Ok(())
}

/// What is sold, where that is named.
async fn sold(arguments: &BenchArguments, stack: &Stack, run: u32, runs: &mut Runs) -> Result<()> {
    if arguments.only.contains(&Part::Stock) {
        let done = shop::stock(stack, arguments.buys).await.context("stock")?;
        eprintln!(
            "run {run}: bought {:.0}/s of {:.0}/s without stock, refused {:.0}/s, of twenty products {:.0}/s; {} deadlocks",
            done.bought_per_s, done.plain_per_s, done.refused_per_s, done.many_per_s, done.deadlocks
        );
        runs.stock.push(done);
    }
    if arguments.only.contains(&Part::Catalogue) {
        let done = shop::catalogue::read(stack, arguments.pages).await.context("catalogue")?;
        eprintln!("run {run}: {:.0} pages/s {}", done.pages_per_s, done.pages);
        eprintln!("run {run}: {:.0} filtered pages/s {}", done.filtered_per_s, done.filtered);
        eprintln!(
            "run {run}: {:.0} changes/s, seen within {:.0} ms",
            done.changes_per_s, done.seen_within_ms
        );
        runs.catalogue.push(done);
    }
    Ok(())
}

/// What others are told, where that is named.
async fn told(arguments: &BenchArguments, stack: &Stack, run: u32, runs: &mut Runs) -> Result<()> {
    let BenchArguments { orders, e2e_connections, rate, seconds, events, streams, .. } = *arguments;
    if arguments.only.contains(&Part::Webhooks) {
        let done = told::webhooks::measure(stack, events, rate, seconds).await.context("webhooks")?;
        eprintln!(
            "run {run}: {} webhooks delivered at {:.0}/s, beside nine dead endpoints {:.0}/s",
            done.deliveries, done.per_s, done.beside_dead_per_s
        );
        eprintln!("run {run}: at {rate}/s told {}", done.told);
        eprintln!("run {run}: the same beside nine dead endpoints {}", done.told_beside_dead);
        runs.webhooks.push(done);
    }
    if arguments.only.contains(&Part::Streams) {
        let done = told::streams::watch(stack, streams, rate, seconds).await.context("streams")?;
        eprintln!(
            "run {run}: {streams} streams: the api has {:.0} MB, {:.0} before; at {rate}/s seen {}",
            done.with.pss_mb, done.before.pss_mb, done.seen
        );
        runs.streams.push(done);
    }
    if arguments.only.contains(&Part::Following) {
        for done in told::following::price(stack, orders, e2e_connections).await.context("following")? {
            let (who, us) = (done.who.says(), done.cost.us_per_order_sum);
            eprintln!("run {run}: an order, {who}: {us:.1} us, {:?}", done.cost.us_per_order);
            runs.following.push(done);
        }
    }
    if arguments.only.contains(&Part::Analytics) {
        let (of, anew) = (arguments.rolled_orders, arguments.rolled_events);
        runs.numbers.push(numbers::measure(stack, (rate, seconds), of, anew).await.context("analytics")?);
    }
    Ok(())
}

/// What is measured only where it is named.
async fn scale(arguments: &BenchArguments, stack: &Stack, run: u32, runs: &mut Runs) -> Result<()> {
    if arguments.only.contains(&Part::Scale) {
        for finished in &arguments.finished {
            let (orders, at_once) = (arguments.orders, arguments.e2e_connections);
            let done = scale::beside(stack, *finished, orders, at_once)
                .await
                .with_context(|| format!("beside {finished} finished orders"))?;
            eprintln!("run {run}: beside {finished} finished orders {:.0}/s end to end", done.per_s);
            runs.scale.push(done);
        }
    }
    if arguments.only.contains(&Part::Backlog) {
        let done = scale::backlog(stack, arguments.backlog).await.context("backlog")?;
        eprintln!("run {run}: of {} due {:.0}/s were settled", done.payments, done.per_s);
        runs.backlog.push(done);
    }
    if arguments.only.contains(&Part::Soak) {
        runs.soak.push(long::soak(stack, arguments.soak_seconds).await.context("soak")?);
    }
    if arguments.only.contains(&Part::Backup) {
        let done = long::backup(stack, arguments.rate, arguments.backup_seconds).await.context("backup")?;
        eprintln!(
            "run {run}: claims {:.1} ms alone, {:.1} beside",
            done.alone.claim_p99_ms, done.beside.claim_p99_ms
        );
        runs.backup.push(done);
    }
    Ok(())
}

fn machine(postgres: String) -> Result<Machine> {
    let cores = std::thread::available_parallelism()?.get();
    Ok(Machine { processor: processor(), cores, postgres })
}

/// As the kernel calls it.
pub(crate) fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("unknown", |(_, model)| model).to_owned()
}
