// The page for a projector: where to go.
//
// Owns: the address as it was reached, the numeric ones beside it (older Androids find no `.local`), and the room.
// Refuses to know: the room itself, and how a code is drawn (the hub does).

const at = id => document.getElementById(id);
const room = new URLSearchParams(location.search).get('room') || '';
const query = '?' + new URLSearchParams({ room });
const isHereOnly = /^(localhost|127\..*|\[::1\])$/.test(location.hostname);

at('host').textContent = location.host;
at('number').textContent = room;
at('which').hidden = room === '';
at('qr').alt = 'QR: ' + location.origin + '/' + (room && query);
at('qr').src = '/qr.svg' + (room && query);
at('here').hidden = !isHereOnly;

function show(urls) {
  urls.map(url => new URL(url)).filter(url => url.host !== location.host).forEach(url => {
    const link = document.createElement('a');
    // From an address that nobody else reaches to one that can be projected; else to what is typed.
    link.href = url.origin + (isHereOnly ? '/join' : '/') + (room && query);
    link.textContent = url.host;
    const item = document.createElement('li');
    item.append(link);
    at('addresses').append(item);
    at('others').hidden = false;
  });
}

fetch('/addresses.json').then(answer => answer.json()).then(({ urls }) => show(urls)).catch(() => {
  // The address as it was reached has to do.
});
