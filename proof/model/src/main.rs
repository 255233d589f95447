//! Checks the protocol, or shows how it breaks without one of its safeguards.

use std::env::args;
use std::process::ExitCode;

use model::design::{Design, Scope};
use model::protocol::Protocol;
use model::{feed, for_later, in_hand, locks, rows, search, stock, weakenings};

const USAGE: &str = "usage: model                check the protocol
       model --faults N     the same with so many faults in each run; and one of deep, wide, cancel, deadline, kitchen, additions, anew, late: that alone
       model --list         name the weakenings
       model --show NAME    the shortest way in which a weakened protocol breaks a promise; all: of each";

fn main() -> ExitCode {
    let args: Vec<String> = args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [] => check(None, None),
        ["--faults", faults] if faults.parse::<u8>().is_ok() => check(faults.parse().ok(), None),
        ["--faults", faults, scope]
            if faults.parse::<u8>().is_ok() && Scope::ALL.iter().any(|(name, _)| *name == scope) =>
        {
            check(faults.parse().ok(), Some(scope))
        }
        ["--list"] => {
            for weakening in weakenings::all() {
                println!("{:<40} {}", weakening.name, weakening.falls);
            }
            for (name, _, falls) in rows::weakenings() {
                println!("{name:<40} {falls}");
            }
            for (name, _, falls) in feed::weakenings() {
                println!("{name:<40} {falls}");
            }
            for (name, _, falls) in locks::weakenings() {
                println!("{name:<40} {falls}");
            }
            for (name, _, falls) in in_hand::weakenings() {
                println!("{name:<40} {falls}");
            }
            for (name, _, falls) in for_later::weakenings() {
                println!("{name:<40} {falls}");
            }
            for (name, _, falls) in stock::weakenings() {
                println!("{name:<40} {falls}");
            }
            ExitCode::SUCCESS
        }
        ["--show", name] => show(name),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::FAILURE
}

fn check(faults: Option<u8>, only: Option<&str>) -> ExitCode {
    let mut well = true;
    for (name, scope) in Scope::ALL.into_iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        let scope = Scope { faults: faults.unwrap_or(scope.faults), ..scope };
        let walk = search::walk(Protocol { design: Design::full(), scope });
        println!("{name}, {} faults: {walk}", scope.faults);
        well &= walk.broken.is_empty() && walk.unseen.is_empty();
    }
    if only.is_none() {
        for (name, scope) in rows::Scope::ALL {
            let walk = search::walk_plain(rows::Statements { design: rows::Design::default(), scope });
            println!("rows, {name}: {walk}");
            well &= walk.broken.is_empty() && walk.unseen.is_empty();
        }
        for (name, scope) in locks::Scope::ALL {
            let walk = search::walk_plain(locks::Locks { design: locks::Design::default(), scope });
            println!("locks, {name}: {walk}");
            well &= walk.broken.is_empty() && walk.unseen.is_empty();
        }
        for free in [false, true] {
            let walk = search::walk_plain(in_hand::InHand { design: in_hand::Design::default(), free });
            println!("in hand, {}: {walk}", if free { "free" } else { "on delivery" });
            well &= walk.broken.is_empty() && walk.unseen.is_empty();
        }
        for elsewhere in [false, true] {
            let model = for_later::ForLater { design: for_later::Design::default(), elsewhere };
            let walk = search::walk_plain(model);
            println!("for later, {}: {walk}", if elsewhere { "paid elsewhere" } else { "charged" });
            well &= walk.broken.is_empty() && walk.unseen.is_empty();
        }
        let walk = search::walk_plain(stock::Stock::default());
        println!("stock: {walk}");
        well &= walk.broken.is_empty() && walk.unseen.is_empty();
        for (name, scope) in feed::Scope::ALL {
            let walk = search::walk_plain(feed::Feed { design: feed::Design::default(), scope });
            println!("feed, {name}: {walk}");
            well &= walk.broken.is_empty() && walk.unseen.is_empty();
        }
    }
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn show(name: &str) -> ExitCode {
    let mut shown = false;
    for weakening in weakenings::all().iter().filter(|weakening| [weakening.name, "all"].contains(&name)) {
        shown = true;
        let path = search::shortest(weakening.protocol, weakening.falls);
        println!("{}", how(weakening.name, weakening.falls, path.map(search::tell)));
    }
    for (weakening, statements, falls) in
        rows::weakenings().iter().filter(|(one, ..)| [*one, "all"].contains(&name))
    {
        shown = true;
        let path = search::shortest(*statements, falls);
        println!("{}", how(weakening, falls, path.map(search::tell)));
    }
    for (weakening, feed, falls) in
        feed::weakenings().iter().filter(|(one, ..)| [*one, "all"].contains(&name))
    {
        shown = true;
        let path = search::shortest(*feed, falls);
        println!("{}", how(weakening, falls, path.map(search::tell)));
    }
    for (weakening, locks, falls) in
        locks::weakenings().iter().filter(|(one, ..)| [*one, "all"].contains(&name))
    {
        shown = true;
        let path = search::shortest(*locks, falls);
        println!("{}", how(weakening, falls, path.map(search::tell)));
    }
    for (weakening, in_hand, falls) in
        in_hand::weakenings().iter().filter(|(one, ..)| [*one, "all"].contains(&name))
    {
        shown = true;
        let path = search::shortest(*in_hand, falls);
        println!("{}", how(weakening, falls, path.map(search::tell)));
    }
    for (weakening, for_later, falls) in
        for_later::weakenings().iter().filter(|(one, ..)| [*one, "all"].contains(&name))
    {
        shown = true;
        let path = search::shortest(*for_later, falls);
        println!("{}", how(weakening, falls, path.map(search::tell)));
    }
    for (weakening, stock, falls) in
        stock::weakenings().iter().filter(|(one, ..)| [*one, "all"].contains(&name))
    {
        shown = true;
        let path = search::shortest(*stock, falls);
        println!("{}", how(weakening, falls, path.map(search::tell)));
    }
    if shown { ExitCode::SUCCESS } else { usage() }
}

fn how(name: &str, falls: &str, steps: Option<String>) -> String {
    match steps {
        Some(steps) => format!("{name} breaks \"{falls}\":\n{steps}"),
        None => format!("{name} does not break \"{falls}\"\n"),
    }
}
