"use strict";

const utf8 = (text) => String.fromCharCode(...new TextEncoder().encode(text)); // a header has bytes

async function answerTo(token) {
  try {
    const answer = await fetch("/login", { headers: { Authorization: `Bearer ${utf8(token)}` } });
    return answer.ok ? "" : "This token is wrong.";
  } catch {
    return "The collector cannot be reached.";
  }
}

let newest = null; // an earlier answer is of another token
document.getElementById("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const mine = (newest = answerTo(document.getElementById("token").value));
  const said = await mine;
  if (mine !== newest) return;
  document.getElementById("said").textContent = said;
  if (!said) location.reload();
});
