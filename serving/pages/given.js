// What the server says whole: a text, or a sound file that this browser can't decode. Gives how long it lasts and what waits.
export async function give({ id, token }, path, body) {
  const answer = await fetch(`/api/sessions/${id}/${path}`, { method: "POST", headers: { Authorization: `Bearer ${token}` }, body });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error);
  return told;
}
