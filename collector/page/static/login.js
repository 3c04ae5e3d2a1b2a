"use strict";

document.getElementById("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const said = document.getElementById("said");
  const token = document.getElementById("token").value;
  try {
    const answer = await fetch("/login", { headers: { Authorization: `Bearer ${token}` } });
    if (answer.ok) {
      location.reload();
    } else {
      said.textContent = "This token is wrong.";
    }
  } catch {
    said.textContent = "The collector cannot be reached.";
  }
});
