"use strict";

const text = (ms) => (ms === null ? "" : new Date(ms).toISOString().slice(0, 16).replace("T", " "));

async function show() {
  const answer = await fetch("/api/series");
  for (const each of (await answer.json()).series) {
    const row = document.getElementById("series").insertRow();
    const name = `${each.symbol}_${each.timeframe}`;
    for (const value of [name, text(each.first_ms), text(each.last_ms), each.rows, each.percent]) {
      row.insertCell().textContent = value;
    }
  }
}

show();
