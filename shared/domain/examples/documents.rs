//! What documents of a platform come to here: each, its own total, ours, and the verdict. `make documents DIR=.. DIALECT=..`

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use domain::channel::dialect::Dialect;
use domain::channel::name::ChannelName;
use domain::channel::settings::ChannelSettings;
use domain::money::currency_of;
use serde_json::Value;
use serde_json::value::RawValue;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(dir), Some(dialect)) = (args.next(), args.next().and_then(|name| Dialect::of_name(&name)))
    else {
        println!("usage: documents DIR DIALECT [CURRENCY]; DIALECT is deliverect, shopify or woocommerce");
        return ExitCode::FAILURE;
    };
    let currency = args.next().and_then(|code| currency_of(&code.to_uppercase()));
    let settings = ChannelSettings { dialect, currency, ..ChannelSettings::default() };
    let Ok(files) = std::fs::read_dir(&dir) else {
        println!("cannot read {dir}");
        return ExitCode::FAILURE;
    };
    let mut files: Vec<_> = files.flatten().map(|file| file.path()).filter(|file| file.is_file()).collect();
    files.sort();
    println!("{:<44} {:>16} {:>16}  verdict", "document", "its total", "ours");
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let (own, ours, verdict) = read(&file, &settings);
        println!("{name:<44} {own:>16} {ours:>16}  {verdict}");
    }
    ExitCode::SUCCESS
}

/// Its own total as it stands there, ours, and what is to be said of it.
fn read(file: &Path, settings: &ChannelSettings) -> (String, String, String) {
    let none = || "-".to_owned();
    let Ok(text) = std::fs::read_to_string(file) else {
        return (none(), none(), "refused: cannot be read".to_owned());
    };
    let (Ok(document), Ok(json)) =
        (serde_json::from_str::<&RawValue>(&text), serde_json::from_str::<Value>(&text))
    else {
        return (none(), none(), "refused: is not JSON".to_owned());
    };
    let place = match settings.dialect {
        Dialect::Deliverect => "/payment/amount",
        Dialect::Shopify => "/total_price",
        Dialect::Plain | Dialect::WooCommerce => "/total",
    };
    let own = json.pointer(place).map_or_else(none, |own| own.to_string().replace('"', ""));
    let Ok(channel) = ChannelName::parse("documents") else { return (own, none(), none()) };
    match settings.dialect.read(channel, document, settings, Duration::ZERO) {
        None => (own, none(), "this dialect needs a channel's price list".to_owned()),
        Some(Ok(read)) => {
            let sum = read.order.total;
            let verdict = if read.is_cancelled { "called off" } else { "taken" };
            (own, format!("{sum} {}", sum.currency().code()), verdict.to_owned())
        }
        Some(Err(problems)) => {
            let all: Vec<_> =
                problems.iter().map(|one| format!("{}: {} ({})", one.attr, one.detail, one.code)).collect();
            (own, none(), format!("refused: {}", all.join("; ")))
        }
    }
}
