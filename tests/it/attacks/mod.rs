//! Attacks against a real server: `cargo test --release --test it attacks`.
//!
//! The attacker knows a user's password, opens any number of connections, replays messages of its own, and guesses in parallel.
//! It does not control the machine, but may have stolen the database. The attacks, and their tests:
//!
//! | attack | test |
//! |---|---|
//! | chat with a token that has not passed the second factor | `gate::a_session_without_its_second_factor_cannot_chat` |
//! | 64 parallel logins with one code: one passes | `gate::one_of_64_parallel_logins_with_one_code_passes`, `gate::one_of_many_parallel_checks_of_a_code_passes`, `races::one_waiting_session_of_an_old_client_is_completed_once` |
//! | the code before, the code after next | `gate::codes_two_steps_away_are_refused_and_one_step_away_accepted` |
//! | 60 guesses from 60 connections, in parallel and one by one | `guessing::sixty_…` (two) |
//! | `InitOtp` for another account, with and without a token, and by a session that owes a code | `gate::a_session_without_its_second_factor_…`, `gate::old_clients_complete_their_one_session_…`, `confusion::a_token_is_valid_for_its_own_login_only` |
//! | two sessions enrolling in a race | `gate::two_sessions_that_enrol_in_a_race_make_one_factor`, `races::one_of_many_parallel_recoveries_wins`, `races::either_a_re_enrolment_or_a_recovery_wins`, `races::the_last_of_many_parallel_secrets_counts` |
//! | a waiting session completed without its token from another connection; a bad token on CheckOtp that must not fall through | `gate::old_clients_complete_their_one_session_on_their_connection_and_no_other` |
//! | a complete session's token used to guess | `guessing::a_complete_session_cannot_be_used_to_guess_beyond_the_budget`, `confusion::every_call_that_takes_a_code_shares_one_budget` |
//! | `alg: none`, a changed payload, another key, an expired token, a token of a deleted user | `forged` |
//! | a message in another name | `gate::a_message_has_its_senders_name_and_a_valid_text` |
//! | revocation while streaming | `gate::logging_out_ends_…`, `gate::a_complete_session_replaces_its_factor_…`, `account::sessions_are_listed_and_one_is_ended_with_its_stream` |
//! | timing of known and unknown logins | `cargo bench --profile release --bench login_timing` |
//! | a stolen database, new and upgraded | `stolen` |
//! | any bytes a stranger may send | `wild` (`script/fuzz` for minutes), `watch` over every log line and thread of all tests |
//! | sixty megabytes compressed into sixty kilobytes | `wild::a_compressed_request_is_not_decompressed` |
//! | a login or text that is a line of the log | `watch`, and fail2ban's reading: `tests/foreign/test_fail2ban.py` |
//! | two tokens, session names, another's login, a lock, a clock set back, spellings | `confusion`, `admin::locking_an_account_ends_its_sessions_at_once_…` |
//! | a change of password, a deletion, a registration, in a race with others | `races`, `account::a_code_makes_one_change_of_many_at_once`, `account::one_recovery_code_opens_one_of_many_sessions_at_once`, `admin::one_invitation_admits_one_of_many_parallel_registrations` |

mod confusion;
mod forged;
mod gate;
mod guessing;
mod races;
mod stolen;
mod wild;
