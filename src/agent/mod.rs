//! The rules of an answer: how chunks become a message, which history a call carries, when an agent is called and called
//! again. Pure: time and chance are arguments.
