//! What no gateway is asked for: free orders, and those that are paid when they are handed over.

use model::in_hand::{Design, InHand, weakenings};
use model::search;

#[test]
fn what_is_paid_in_hand_comes_in_once_or_never_and_goes_back_through_no_gateway() {
    for free in [false, true] {
        let walk = search::walk_plain(InHand { design: Design::default(), free });
        println!("in hand, free: {free}: {walk}");
        assert!(walk.broken.is_empty() && walk.unseen.is_empty(), "free: {free}: {walk}");
    }
}

#[test]
fn each_part_of_it_is_needed() {
    for (name, in_hand, falls) in weakenings() {
        let Some(path) = search::shortest(in_hand, falls) else {
            panic!("{name} does not break \"{falls}\"")
        };
        println!("{name} breaks \"{falls}\":\n{}", search::tell(path));
    }
}
