// Giving back a clip that can't be judged: X or the button asks for the reason, and with it the clip goes to somebody else.
"use strict";
const Report = {
  open() {
    if (!task || feedback) return;
    player.pause();
    $("told").value = "";
    this.word(false);
    $("report").showModal();
  },
  // Something else has words before it goes, though none are needed.
  word(shown) {
    $("words").hidden = !shown;
    reasons.at(-1).setAttribute("aria-expanded", shown);
    if (shown) $("told").focus();
  },
  async send(reason) {
    const given = task;
    $("report").close();
    try { await ask("/api/report", { token: given.token, reason, told: $("told").value, active_s: (activeMs + Owed.ms) / 1000 }); } catch (failed) {
      if (!failed.status) return note("No connection: the clip is still yours. Give it back in a moment.");
      if (failed.status !== 404) return note(`The clip was not given back: ${failed.message}.`);
    }
    Owed.take();
    sentOff.add(given.token);
    localStorage.removeItem(draftName(given.token));
    if (task === given) await advance();
    if (!$("note").textContent) note("Given back: somebody else is asked, and your time counts.");
  },
};
const reasons = [...document.querySelectorAll("#report [data-reason]")];
reasons.forEach((button) => button.addEventListener("click", () => { if (button.dataset.reason === "other") Report.word(true); else Report.send(button.dataset.reason); }));
$("give").addEventListener("click", () => Report.send("other"));
$("cannot").addEventListener("click", () => Report.open());
$("report").addEventListener("keydown", (event) => {
  touched = Date.now();
  const typing = event.target === $("told"), chosen = reasons[event.key - 1];
  if (typing && event.key === "Enter") Report.send("other");
  else if (!typing && chosen) chosen.click();
  else return;
  event.preventDefault();
});
