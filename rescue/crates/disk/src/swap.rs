//! Linux swap headers.
