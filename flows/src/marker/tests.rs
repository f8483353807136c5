//! Choice of the bits, and matches; `tests/ofctl.rs` has flows with every action that touches registers.

use super::*;
use crate::model::{Action, Cookie, FlowKey, Match, TableId};
use crate::ofp::numbers::field_class::{NXM_1, PACKET_REGS};

const REG10: Field = Field::reg(10);
const XREG5: Field = Field { class: PACKET_REGS, number: 5, width: 8, experimenter: 0 };
const XXREG2: Field = Field { class: NXM_1, number: 113, width: 16, experimenter: 0 };

fn flow(matched: Vec<MatchField>, actions: Vec<Action>) -> Flow {
    let key = FlowKey { table: TableId(8), priority: 100, matching: Match::new(matched) };
    Flow::new(key, Cookie(0), actions)
}

#[test]
fn the_default_bits_are_chosen_when_ovn_leaves_them_free() {
    // Flags in bits 0 to 21 and, since 24.03.7, the network's number in bits 28 to 31.
    assert_eq!(choose(0xf03f_ffff), Some(MarkerBits::default()));
    assert_eq!(MarkerBits::default().copied_mask(), 0x0800_0000);
    assert_eq!(MarkerBits::default().delivered_mask(), 0x0400_0000);
}

#[test]
fn the_two_highest_free_bits_are_chosen_when_a_default_one_is_used() {
    assert_eq!(choose(0xf800_0000), Some(MarkerBits { copied: 26, delivered: 25 }));
    assert_eq!(choose(0xf400_0001), Some(MarkerBits { copied: 27, delivered: 25 }));
    assert_eq!(choose(0x0400_0000), Some(MarkerBits { copied: 31, delivered: 30 }));
}

#[test]
fn nothing_is_chosen_when_fewer_than_two_bits_are_free() {
    assert_eq!(choose(u32::MAX), None);
    assert_eq!(choose(!(1 << 3)), None);
    assert_eq!(choose(!(1 << 3 | 1)), Some(MarkerBits { copied: 3, delivered: 0 }));
}

#[test]
fn a_match_uses_the_bits_of_its_mask_in_whatever_field_the_register_is() {
    for (field, used) in [
        (MatchField::exact(REG10, 0), u32::MAX),
        (MatchField::masked(REG10, 0, 0x41), 0x41),
        (MatchField::masked(XREG5, 0, 0x41 << 32), 0x41),
        (MatchField::masked(XREG5, 0, 0x41), 0),
        (MatchField::masked(XXREG2, 0, 0x41 << 32), 0x41),
        (MatchField::masked(XXREG2, 0, 0x41 << 64), 0),
        (MatchField::exact(Field::reg(11), 0), 0),
        (MatchField::exact(Field::METADATA, u128::from(u64::MAX)), 0),
    ] {
        assert_eq!(register_bits_used(&flow(vec![field.clone()], vec![]), 10), used, "{field}");
    }
}

#[test]
fn clearing_the_whole_register_uses_nothing_but_clearing_a_part_does() {
    for (field, used) in [
        (MatchField::exact(REG10, 0), 0),
        (MatchField::exact(XREG5, 0), 0),
        (MatchField::exact(XXREG2, 0), 0),
        (MatchField::exact(REG10, 1), u32::MAX),
        (MatchField::masked(REG10, 0, 0xffff_fffe), 0xffff_fffe),
    ] {
        let flow = flow(vec![], vec![Action::Clone(vec![Action::SetField(field.clone())])]);
        assert_eq!(register_bits_used(&flow, 10), used, "{field}");
    }
    let load = |bits, value| Action::RegLoad { field: REG10, offset: 0, bits, value };
    assert_eq!(register_bits_used(&flow(vec![], vec![load(32, 0)]), 10), 0);
    assert_eq!(register_bits_used(&flow(vec![], vec![load(31, 0)]), 10), 0x7fff_ffff);
    assert_eq!(register_bits_used(&flow(vec![], vec![load(32, 9)]), 10), u32::MAX);
}

#[test]
fn a_raw_action_that_cannot_be_understood_uses_everything() {
    // Nicira's stack_push that ends before the field's name.
    let action = [0xff, 0xff, 0, 16, 0, 0, 0x23, 0x20, 0, 27, 0, 0, 0xff, 0xff, 0, 4];
    let flow = flow(vec![], vec![Action::Raw(action.into())]);
    assert_eq!(register_bits_used(&flow, 10), u32::MAX);
}
