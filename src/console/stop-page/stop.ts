document.querySelector('#page')?.append('holdpoint')
