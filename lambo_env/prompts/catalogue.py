"""The catalogue's data: how people say what they want minimised, training apart from held-out.

In the wordings of a mix ``{A}`` and ``{B}`` are the two quantities in either order, ``{pa}`` and
``{pb}`` their shares in percent, ``{fa}`` and ``{fb}`` as fractions, ``{ra}`` and ``{rb}`` as a
ratio in lowest terms. The order of the phrases is part of the frozen environments (their prompts
are drawn by index): change a training list only with a new environment id.
"""

from __future__ import annotations


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(phrase for line in text.splitlines() if line for phrase in line.split(" | "))


LATENCY_TRAIN = _phrases("""
Minimum latency | Minimise latency | Minimise the latency | Minimise the average latency
Minimise the mean latency | Minimise mean latency | Minimise average latency | Minimise the total latency
Minimise the overall latency | Minimise the average latency of all users
Minimise the average latency of each UE | Minimise the mean latency over all UEs | Minimise delay
Minimise the delay | Minimise the average delay | Minimise the mean task delay | Minimise response time
Minimise the average response time | Minimise completion time | Minimise the average task completion time
Minimise the time to finish each task | Minimum delay | Minimum average latency | Minimum mean latency
Minimum response time | Minimum completion time | Lowest latency | Lowest possible latency
Lowest average delay | The lowest latency you can reach | Least latency | Least delay | Shortest latency
Shortest delay | Shortest completion time | Smallest latency | Smallest average latency | Low latency
Ultra-low latency | Low latency first | Latency first | Latency only | Only latency matters
Optimise latency | Optimise for latency | Optimise for low latency | Optimise for speed
Reduce latency as much as possible | Reduce the delay as much as possible | Cut latency as far as you can
Cut the delay as far as possible | Keep latency as low as possible
Keep the average delay as low as possible | Make latency as small as possible
Make the tasks finish as fast as possible | Finish all tasks as fast as possible
Finish every task as soon as possible | Run everything as fast as possible
Complete the tasks as quickly as possible | As fast as possible | As quick as possible | Fastest execution
Fastest response | Prioritise latency
""")

LATENCY_HELD_OUT = _phrases("""
Speed is all that counts | Get every job done in no time | Make our users wait as little as they must
Nobody should have to wait for an answer | Give me the snappiest system you can build
I want results back the instant they are ready | Time is the one thing to save here
Be quick about it, whatever it costs in joules | Hurry, every millisecond counts
Squeeze out each millisecond you can | Return answers at the earliest moment
Shrink waiting to the bare minimum | Let applications feel instantaneous
The sooner the work is over, the better | Aim for the swiftest turnaround | Quickest turnaround on average
We need real-time behaviour, so be rapid | Bring down how long things take | Deliver outputs without lag
Lag must vanish
""")

ENERGY_TRAIN = _phrases("""
Minimum energy | Minimise energy | Minimise the energy | Minimise the total energy | Minimise total energy
Minimise energy consumption | Minimise the energy consumption | Minimise the total energy consumption
Minimise the overall energy consumption | Minimise energy use | Minimise the energy used
Minimise the energy of all users | Minimise the total energy of all UEs
Minimise the energy consumed by the UEs | Minimise the energy that the devices consume
Minimise energy usage | Minimise power consumption | Minimise the energy cost
Minimise the sum of energy over all UEs | Minimise the battery use | Minimise the joules spent
Minimum energy consumption | Minimum total energy | Minimum energy use | Minimum energy usage
Minimum power consumption | Lowest energy | Lowest possible energy | Lowest energy consumption
The lowest energy you can reach | Least energy | Least energy use | Smallest energy
Smallest energy consumption | Smallest total energy | Low energy | Ultra-low energy | Low energy first
Energy first | Energy only | Only energy matters | Optimise energy | Optimise for energy
Optimise for low energy | Optimise for energy efficiency | Optimise for battery life
Reduce energy as much as possible | Reduce the energy consumption as much as possible
Cut energy as far as you can | Cut the energy consumption as far as possible
Keep energy as low as possible | Keep the total energy as low as possible | Make energy as small as possible
Make the devices consume as little energy as possible | Use as little energy as possible
Spend as little energy as possible | Save energy | Save as much energy as possible | Save battery
Save the batteries of the devices | Most energy-efficient | Maximise energy savings
Be as energy-efficient as possible | Prioritise energy
""")

ENERGY_HELD_OUT = _phrases("""
Make phones last until the evening | Nobody should need a charger today
Drain the handsets as little as you can | Every joule counts | Squeeze the most out of each joule | Go green
Be as frugal with electricity as you can | Stretch each charge to the limit
Batteries are nearly empty, go easy on them | Do not waste a single joule
Be thrifty, the handsets are running low | Preserve the charge of all handsets
Extend the battery life of every phone | Shrink our electricity footprint to the bare minimum
Aim for the greenest operation | Consume the fewest joules
We need economical behaviour, so spare the cells | Bring down how much electricity is burnt
Deliver outputs without draining anybody | Waste of electricity must vanish
""")

# any share of {A} strictly between 0 and 1
MIX_TRAIN = _phrases("""
{pa} {A}, {pb} {B} | {pa} {A} and {pb} {B} | {A} {pa}, {B} {pb} | {A} {pa} and {B} {pb}
{A}: {pa}, {B}: {pb} | {pa} {A} / {pb} {B} | {pa} {A} with {pb} {B} | {fa} {A} + {fb} {B}
{fa} * {A} + {fb} * {B} | {pa} on {A} and {pb} on {B} | {pa} on {A}, {pb} on {B}
{pa} for {A} and {pb} for {B} | {pa} for {A}, {pb} for {B} | {pa} weight on {A} and {pb} weight on {B}
{pa} weight on {A}, {pb} on {B} | {pa} of {A} and {pb} of {B} | {pa} {A}, rest {B} | {pa} {A}, the rest {B}
{pa} {A} and the rest {B} | {A} {pa}, rest {B} | {A} {pa}, the rest {B}
{pa} of the weight on {A}, the rest on {B} | weigh {A} {fa} and {B} {fb} | weight {A} {fa} and {B} {fb}
weigh {A} by {fa} and {B} by {fb} | weigh {A} with {fa} and {B} with {fb} | {A} weight {fa}, {B} weight {fb}
{A} with weight {fa} and {B} with weight {fb} | weight {fa} on {A} and {fb} on {B}
weight {fa} for {A} and {fb} for {B} | minimise {fa} {A} + {fb} {B} | minimise {pa} {A} and {pb} {B}
minimise {pa} {A}, {pb} {B} | optimise {pa} {A} and {pb} {B} | optimise for {pa} {A} and {pb} {B}
optimise {pa} for {A} and {pb} for {B} | minimise {A} {pa} and {B} {pb} | optimise {A} {pa} and {B} {pb}
{A} = {fa}, {B} = {fb} | {ra}:{rb} {A} to {B} | {ra} to {rb} {A} to {B} | {ra}/{rb} {A}/{B}
{ra}/{rb} {A} and {B} | {ra}:{rb} {A} and {B} | {A} to {B} {ra}:{rb} | {A} to {B} {ra} to {rb}
{A} to {B} = {ra}:{rb} | {A}:{B} = {ra}:{rb} | {A}/{B} {ra}/{rb} | {A} and {B} {ra}:{rb}
{A} and {B} at {ra}:{rb} | {A} and {B} at a ratio of {ra}:{rb} | {A} against {B} at {ra}:{rb}
trade off {A} and {B} {ra}:{rb} | {ra} parts {A}, {rb} parts {B} | a mix of {pa} {A} and {pb} {B}
mix {pa} {A} with {pb} {B} | give {A} {pa} and {B} {pb} | give {pa} to {A} and {pb} to {B}
put {pa} on {A} and {pb} on {B} | care {pa} about {A} and {pb} about {B} | focus {pa} on {A} and {pb} on {B}
prioritise {A} {pa} and {B} {pb}
""")

MIX_HELD_OUT = _phrases("""
divide the goal into {pa} {A} and {pb} {B} | let {A} count for {pa} and {B} for {pb}
a compromise, {pa} towards {A}, {pb} towards {B} | blend {pa} of {A} into {pb} of {B}
{A} counts {fa} and {B} counts {fb} in the score | judge each slot by {fa} {A} plus {fb} {B}
take {ra} shares of {A} for each {rb} of {B} | assign a coefficient of {fa} to {A} and {fb} to {B}
importance of {A} is {pa}, that of {B} is {pb} | spend {pa} of your effort on {A} and the remainder on {B}
{pa} of what matters is {A}, what remains is {B} | split the attention {ra} to {rb} between {A} and {B}
grade me on {A} at {pa} and {B} at {pb} | out of the total score {pa} belongs to {A} and {pb} to {B}
use a weighted sum, {fa} times {A} and {fb} times {B} | I value {A} at {pa} and {B} at {pb}
""")

# the share of {A} is above one half
MAJORITY_TRAIN = _phrases("""
mostly {A} with {pb} {B} | mostly {A}, {pb} {B} | mostly {A} and {pb} {B} | mainly {A} with {pb} {B}
mainly {A}, {pb} {B} | mainly {A} and {pb} {B} | mostly {A}, {pa}, and {pb} {B}
""")

MAJORITY_HELD_OUT = _phrases("""
lean towards {A} but keep {pb} for {B} | above all {A}, though {pb} goes to {B}
""")

# the shares are equal
EQUAL_TRAIN = _phrases("""
equal weight to {A} and {B} | equal weight on {A} and {B} | equal weights for {A} and {B}
give equal weight to {A} and {B} | weigh {A} and {B} equally | {A} and {B} equally
{A} and {B} equally weighted | balance {A} and {B} | balance {A} with {B} | balance between {A} and {B}
a balance of {A} and {B} | minimise {A} and {B} equally | optimise {A} and {B} equally | half {A}, half {B}
half {A} and half {B} | {A} and {B} in equal parts | fifty-fifty {A} and {B}
{A} and {B} are equally important
""")

EQUAL_HELD_OUT = _phrases("""
give neither {A} nor {B} the upper hand | {A} matters exactly as much as {B}
strike an even compromise between {A} and {B} | find the middle ground of {A} and {B}
share the attention evenly among {A} and {B}
""")

# the words that a wording's {A} and {B} may be; the pairs below are the ones that are drawn
LATENCY_NOUNS = (
    "latency",
    "average latency",
    "mean latency",
    "delay",
    "response time",
    "completion time",
)
ENERGY_NOUNS = (
    "energy",
    "total energy",
    "energy use",
    "energy usage",
    "energy consumption",
    "power consumption",
)
NOUNS_TRAIN = (("latency", "energy"), ("delay", "energy consumption"))
NOUNS_HELD_OUT = (("latency", "energy"), ("response time", "energy usage"))
