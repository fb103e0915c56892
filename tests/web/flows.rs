//! What people come for: an upgrade is asked for, and watched until it has ended, whichever way it goes.
//!
//! Two stories are told by real agents, processes that replace their own binary; the others by executors that say what a story
//! needs at the moment that it needs it.

mod real;
mod told;

use libtest_mimic::Trial;

use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("flows::a_real_agent_is_upgraded_while_somebody_watches", real::succeeds),
        trial("flows::a_real_agent_comes_back_and_the_page_says_why", real::comes_back),
        trial("flows::a_member_is_offered_nothing_and_refused_all_the_same", told::member),
        trial("flows::a_downgrade_says_so_before_and_after", told::downgrade),
        trial("flows::two_majors_at_once_are_refused_with_the_way_there", told::major_hop),
        trial("flows::a_request_that_nobody_picks_up_expires_before_one_s_eyes", told::expires),
        trial("flows::a_page_comes_back_with_the_network", told::network),
        trial("flows::a_page_notices_a_network_that_died_without_a_word", told::silence),
        trial("flows::nodes_of_an_operator_out_of_support_are_refused_in_words", told::nodes),
        trial("flows::two_tabs_show_one_truth", told::two_tabs),
        trial("flows::an_upgrade_needs_no_script", told::without_scripts),
        trial("flows::a_keyboard_is_enough_to_ask_and_to_think_again", told::keyboard),
    ]
}
