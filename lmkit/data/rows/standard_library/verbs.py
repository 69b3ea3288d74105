"""First sentences of docstrings as what something does: "Return the sum" as "returns the sum"."""

import re


def third_person(sentence: str) -> str | None:
    """What a function does that is told to do it; none where the sentence begins with no verb that is known."""
    verb, _, rest = sentence.partition(" ")
    if verb.endswith("ly") and (done := third_person(rest[:1].upper() + rest[1:])):
        return f"{verb.lower()} {done}"  # "Recursively delete"
    if not rest or rest.startswith("of ") or verb not in _VERBS | _INFLECTED:
        return None
    if verb in _INFLECTED:
        return f"{verb.lower()} {rest}"
    rest = _FURTHER.sub(lambda match: f"{match[1]} {_inflected(match[2])}", rest)
    return f"{_inflected(verb.lower())} {rest}"


def begins_with_verb(text: str) -> bool:
    """Whether the first word is a verb that is known, in capitals or not, and no name that something is said of."""
    words = text.split(maxsplit=2)
    return len(words) > 1 and words[0].capitalize() in _VERBS | _INFLECTED and words[1] not in _SAYS


def _inflected(verb: str) -> str:
    if verb.endswith(("s", "sh", "ch", "x", "z", "o")):
        return f"{verb}es"
    return f"{verb[:-1]}ies" if verb.endswith("y") and verb[-2] not in "aeo" else f"{verb}s"


_SAYS = {"is", "are", "was", "may", "can", "must", "should", "will", "has", "=", "-", "--"}
_FURTHER = re.compile(
    r"\b(and|or|then|but|otherwise,?|else) "
    r"(append|call|convert|create|do|execute|get|give|install|put|raise|remove|replace|return|store|wait|write|yield)\b"
)
"""A verb after the first: "Pop a value and return it"."""
_VERBS = frozenset(
    """
    Abort Accept Acquire Add Adjust Allow Announce Append Apply Arrange Ask Assert Associate Attach Attempt Begin
    Bind Block Build Calculate Call Cancel Cast Change Check Choose Clean Clear Clone Close Collapse Collect Combine
    Compare Compile Compress Compute Concatenate Configure Connect Construct Convert Copy Count Create Cut
    Deactivate Decide Declare Decode Decompress Decorate Decrement Define Delegate Delete Deliver Describe Deselect
    Deserialize Destroy Detect Determine Disable Disassemble Discard Dispatch Display Divide Do Draw Drop Dump
    Duplicate Emit Enable Encode Ensure Enter Erase Escape Evaluate Examine Execute Exit Expand Expose Express
    Extend Extract Fail Feed Fetch Fill Filter Find Finish Flash Flush Force Fork Format Free Generate Get Give
    Guess Handle Hash Hide Identify Implement Import Include Increment Indent Indicate Initialize Initiate Insert
    Install Instruct Interpret Invert Invoke Isolate Issue Iterate Join Keep Kill Leave Let Limit List Listen Load
    Locate Lock Log Look Lower Make Map Mark Match Merge Modify Move Multiply Normalize Notify Obtain Offer Open
    Override Overwrite Pack Pad Paint Parse Partition Pause Perform Place Poll Pop Prepare Print Process Produce
    Prompt Provide Pull Push Put Query Quit Quote Raise Read Rebuild Receive Record Redirect Reformat Register
    Release Reload Remove Rename Render Replace Report Represent Request Reset Resize Resolve Restore Resume
    Retrieve Return Reverse Rotate Round Run Save Scan Schedule Scroll Search Seek Select Send Serialize Set Shift
    Show Shuffle Shut Shutdown Signal Simulate Skip Sleep Sort Spawn Specify Split Start Stop Store Strip Submit
    Subscribe Subtract Suspend Swap Switch Take Tell Terminate Test Toggle Transfer Transform Translate Transmit
    Traverse Truncate Try Turn Unbind Uncancel Undo Unpack Unregister Unset Unsubscribe Update Upgrade Use Validate
    Verify Visit Wait Wake Walk Wrap Write Yield
    """.split()  # noqa: SIM905 (as words they are read at a glance)
)
_INFLECTED = frozenset(_inflected(verb.lower()).capitalize() for verb in _VERBS)
