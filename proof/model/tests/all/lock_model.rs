//! Whoever has several orders in one transaction locks in one sequence, and without any part of it two wait for each other.

use model::locks::{Design, Locks, Scope, weakenings};
use model::search;

#[test]
fn nobody_waits_for_another_that_waits_for_them() {
    for (name, scope) in Scope::ALL {
        let walk = search::walk_plain(Locks { design: Design::default(), scope });
        println!("locks, {name}: {walk}");
        assert!(walk.broken.is_empty() && walk.unseen.is_empty(), "{name}: {walk}");
    }
}

#[test]
fn each_part_of_the_sequence_is_needed() {
    for (name, locks, falls) in weakenings() {
        let Some(path) = search::shortest(locks, falls) else { panic!("{name} does not break \"{falls}\"") };
        println!("{name} breaks \"{falls}\":\n{}", search::tell(path));
    }
}
