//! Orders for later: held until their time, and then as any other.

use model::for_later::{Design, ForLater, weakenings};
use model::search;

#[test]
fn what_is_for_later_is_charged_in_its_time_or_cancelled_at_once() {
    for elsewhere in [false, true] {
        let walk = search::walk_plain(ForLater { design: Design::default(), elsewhere });
        println!("for later, elsewhere: {elsewhere}: {walk}");
        assert!(walk.broken.is_empty() && walk.unseen.is_empty(), "elsewhere: {elsewhere}: {walk}");
    }
}

#[test]
fn each_part_of_waiting_is_needed() {
    for (name, for_later, falls) in weakenings() {
        let Some(path) = search::shortest(for_later, falls) else {
            panic!("{name} does not break \"{falls}\"")
        };
        println!("{name} breaks \"{falls}\":\n{}", search::tell(path));
    }
}
