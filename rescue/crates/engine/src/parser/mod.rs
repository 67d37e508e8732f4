//! Everything that interprets bytes of a target or of a store, behind one trait.

/// Answers what needs bytes interpreted.
pub trait Parser: store::Decode {}

/// The main loop of the parser role: answers on the socket it was started with until that closes. Returns the exit code of
/// the process.
pub fn serve() -> u8 {
    0
}
